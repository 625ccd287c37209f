"""Admission control samples the memory of Redis, not more often than once per second."""

from collections.abc import Iterator
from typing import Any

import pytest
import redis

from service.application.admission_control import SAMPLED_FOR_S, AdmissionControl
from service.contract.errors import StoreUnavailable
from tests.support.clock import Clock

MIB = 2**20


class UnreachableServer(redis.Redis):
    """A client without a server, which counts the commands."""

    commands = 0

    def info(self, section: str | None = None, *args: str, **options: Any) -> Any:  # noqa: ARG002
        self.commands += 1
        raise redis.ConnectionError("no server")


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def limited(client: redis.Redis) -> Iterator[redis.Redis]:
    client.config_set("maxmemory", 400 * MIB)
    yield client
    client.config_set("maxmemory", 0)


def test_the_memory_is_sampled_again_after_a_second(limited: redis.Redis, clock: Clock) -> None:
    control = AdmissionControl(limited, 5, 0.5, clock)
    first = control.admission()
    limited.set("large", bytes(8 * MIB))

    clock.advance(SAMPLED_FOR_S / 2)
    assert control.admission() == first
    clock.advance(SAMPLED_FOR_S / 2)
    later = control.admission()

    assert first.bytes_left is not None
    assert later.bytes_left is not None
    assert first.bytes_left < 200 * MIB
    assert first.bytes_left - later.bytes_left > 7 * MIB


def test_a_server_without_a_limit_limits_only_the_queue(client: redis.Redis, clock: Clock) -> None:
    assert AdmissionControl(client, 5, 0.5, clock).admission().bytes_left is None


def test_a_failure_is_cached_as_long_as_a_sample(clock: Clock) -> None:
    server = UnreachableServer()
    control = AdmissionControl(server, 5, 0.5, clock)

    for _ in range(3):
        with pytest.raises(StoreUnavailable):
            control.admission()
    assert server.commands == 1
    clock.advance(2 * SAMPLED_FOR_S)
    with pytest.raises(StoreUnavailable):
        control.admission()
    assert server.commands == 2
