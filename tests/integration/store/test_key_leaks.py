"""The search for keys that nothing deletes finds each kind of leak."""

from collections.abc import Callable

import pytest
import redis

from service.store.attempts import Attempts
from service.store.experiments import Experiments
from tests.support.claims import claim_run
from tests.support.key_leaks import leaked
from tests.support.plans import new_experiment, plan_of

ID = f"{7:024x}"
LEAKS: list[tuple[Callable[[redis.Redis], object], str]] = [
    (lambda client: client.zadd("gradflow:experiments:tag:x", {"gone": 0}), "gradflow:experiments:tag:x: gone"),
    (lambda client: client.zadd("gradflow:tenant:ada:studies", {"gone": 0}), "gradflow:tenant:ada:studies: gone"),
    (lambda client: client.zadd("gradflow:ended", {"gone": 0}), "gradflow:ended: gone"),
    (lambda client: client.zadd("gradflow:leases", {"gone": 0}), "gradflow:leases: gone"),
    (lambda client: client.zadd("gradflow:queued:a", {"gone": 0}), "gradflow:queued:a: gone"),
    (lambda client: client.zadd("gradflow:queued:architectures", {"a": 0}), "gradflow:queued:architectures: a"),
    (lambda client: client.sadd("gradflow:{d}:users", "gone"), "gradflow:{d}:users: gone"),
    (lambda client: client.incrby("gradflow:reserved", 9), "gradflow:reserved: 1009 instead of 1000"),
    (lambda client: client.incrby("gradflow:datasets:bytes", 9), "gradflow:datasets:bytes: 9 instead of 0"),
    (lambda client: client.set(f"gradflow:{{{ID}}}:exact", "x"), f"gradflow:{{{ID}}}:exact"),
    (lambda client: client.set(f"gradflow:{{{ID}}}:typo", "x"), f"gradflow:{{{ID}}}:typo"),
    (lambda client: client.set("gradflow:{gone}:loss", "x"), "gradflow:{gone}:loss"),
    (lambda client: client.set("gradflow:other", "x"), "gradflow:other"),
]


@pytest.mark.leaves_keys  # to be found
@pytest.mark.parametrize(("leave", "expected"), LEAKS, ids=[expected for _, expected in LEAKS])
def test_a_leak_is_found(
    client: redis.Redis, store: Experiments, attempts: Attempts, leave: Callable[[redis.Redis], object], expected: str
) -> None:
    spec = plan_of(model="baseline", tags=["t"]).spec
    store.create(ID, new_experiment(spec, history_bytes=1_000))
    store.of("ada").create(f"{8:024x}", new_experiment(spec))
    claim_run(attempts, ID, "cpu")
    assert leaked(client) == []

    leave(client)

    assert leaked(client) == [expected]
