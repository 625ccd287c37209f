"""One damaged record hides no other, stops no trainer and no sweep, and can be deleted."""

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from typing import cast

import httpx2
import pytest
import redis

from service.contract.data_spec import DataShape
from service.contract.errors import DamagedRecord, NotFound, StoreUnavailable
from service.contract.gradient_norm_layout import GradientNormLayout
from service.contract.record import Outcome, Status, Timing
from service.contract.study_spec import StudySpec
from service.store.attempts import Attempts
from service.store.datasets import DatasetDescription, Datasets
from service.store.experiments import Experiments
from service.store.ids import new_id
from service.store.keys import Keys
from service.store.studies import Studies
from tests.support.claims import claim_run
from tests.support.plans import new_experiment, plan_of
from tests.support.redis_keys import keys_of
from tests.support.served_api import problem, submit

PLANNED = plan_of(model="baseline", tags=["t"])
SHAPE = DataShape(samples=10, input_shape=(3,), classes=2)
DESCRIPTION = DatasetDescription(
    name=None, shape=SHAPE, label="y", columns=None, rows_a_class=(5, 5), x_format="<f4", y_format="<i4"
)
Damage = Callable[[redis.Redis, str], object]

# Kinds of damage to the hash of an experiment.
OF_A_RECORD: dict[str, Damage] = {
    "one byte of the status": lambda client, key: client.hset(key, "status", "qveued"),
    "no status": lambda client, key: client.hdel(key, "status"),
    "a spec that is not JSON": lambda client, key: client.hset(key, "spec", '{"model"'),
    "no spec": lambda client, key: client.hdel(key, "spec"),
    "no time of creation": lambda client, key: client.hdel(key, "created_at"),
    "bytes that are not text": lambda client, key: client.hset(key, "warnings", b"\xff\xfe"),
    "a number of steps that is none": lambda client, key: client.hset(key, "step", "1x"),
    "another type of key": lambda client, key: (client.delete(key), client.set(key, "text")),
}
# What a record of another type had reserved is not known: it stays in the total while anything is queued or runs.
DAMAGES = [
    pytest.param(damage, id=name, marks=[pytest.mark.leaves_keys] if name == "another type of key" else [])
    for name, damage in OF_A_RECORD.items()
]


def key_of(experiment_id: str) -> str:
    return f"gradflow:{{{experiment_id}}}:record"


def queue(store: Experiments) -> str:
    experiment_id = new_id()
    store.create(experiment_id, new_experiment(PLANNED.spec, history_bytes=1_000))
    return experiment_id


def queue_study(client: redis.Redis, runs: int = 3) -> tuple[str, list[str]]:
    run = new_experiment(PLANNED.spec, (), PLANNED.shape, "a", 125, GradientNormLayout.of(PLANNED))
    spec = StudySpec(base={"model": "baseline", "tags": ["t"]}, axes={"training.seed": list(range(runs))})
    study, ids = Studies(client).create(spec, [run] * runs, ["t"], ())
    return study.id, ids


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_list_leaves_a_damaged_experiment_out_and_counts_it(
    store: Experiments, client: redis.Redis, damage: Damage, caplog: pytest.LogCaptureFixture
) -> None:
    first, damaged, last = (queue(store) for _ in range(3))
    damage(client, key_of(damaged))

    with caplog.at_level(logging.ERROR):
        pages = [store.page(status=status, tag=None, limit=9, before=None) for status in (None, Status.QUEUED)]
        pages.append(store.page(status=None, tag="t", limit=9, before=None))

    for page in pages:
        assert [record.id for record in page.records] == sorted([first, last], reverse=True)
        assert page.unreadable == 1
    assert caplog.text.count(damaged) == 1  # once per id
    with pytest.raises(DamagedRecord, match=f"experiment {damaged} is damaged"):
        store.get(damaged)


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_experiment_can_be_deleted_with_all_its_keys(
    store: Experiments, client: redis.Redis, damage: Damage
) -> None:
    damaged = queue(store)
    damage(client, key_of(damaged))

    store.open(damaged).delete()

    with pytest.raises(NotFound):
        store.get(damaged)
    left = set(keys_of(client)) - {b"gradflow:reserved"}  # the reserved bytes may be unknown
    assert left == set()


def test_a_page_counts_only_the_damaged_experiments_that_belong_on_it(store: Experiments, client: redis.Redis) -> None:
    ids = sorted((queue(store) for _ in range(7)), reverse=True)
    for damaged in (ids[1], ids[4]):
        client.hset(key_of(damaged), "status", "?")

    first = store.page(status=None, tag=None, limit=2, before=None)
    second = store.page(status=None, tag=None, limit=9, before=first.next_before)

    assert [record.id for record in first.records] == [ids[0], ids[2]]
    assert [record.id for record in second.records] == [ids[3], ids[5], ids[6]]
    assert (first.unreadable, second.unreadable) == (1, 1)


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_claim_fails_damaged_runs_and_returns_the_next_one(
    store: Experiments, attempts: Attempts, client: redis.Redis, damage: Damage
) -> None:
    damaged, sound = queue(store), queue(store)
    damage(client, key_of(damaged))

    claims = [attempts.claim_next("cpu", "here:1") for _ in range(3)]

    # A record whose queue fields are sound may be claimed; the trainer that cannot read it then ends the run.
    claimed = {claim.experiment_id for claim in claims if claim is not None}
    assert claimed in ({sound}, {damaged, sound})
    assert not attempts.any_queued()


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_sweep_continues_after_a_damaged_run_whose_lease_has_ended(
    store: Experiments, attempts: Attempts, client: redis.Redis, damage: Damage
) -> None:
    damaged, sound = queue(store), queue(store)
    for experiment_id in (damaged, sound):
        claim_run(attempts, experiment_id, "cpu")
    damage(client, key_of(damaged))
    client.hset(key_of(damaged), "attempts_without_progress", "?") if client.type(key_of(damaged)) == b"hash" else None
    client.zadd("gradflow:leases", {damaged: 0, sound: 0})

    assert attempts.sweep(10).expired == 2
    assert attempts.sweep(10).expired == 0

    assert store.get(sound).status == Status.QUEUED
    if client.type(key_of(damaged)) == b"hash":
        assert client.hget(key_of(damaged), "status") == b"failed"
        assert b"damaged" in (client.hget(key_of(damaged), "error") or b"")


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_sweep_deletes_old_experiments_even_if_one_of_them_is_damaged(
    store: Experiments, attempts: Attempts, client: redis.Redis, damage: Damage
) -> None:
    damaged, sound = queue(store), queue(store)
    for experiment_id in (damaged, sound):
        store.open(experiment_id).cancel()
    damage(client, key_of(damaged))

    for _ in range(2):
        attempts.sweep(10, keep_s=0.0)

    assert keys_of(client) == []


def test_a_stack_starts_even_if_the_record_of_a_running_run_is_damaged(
    store: Experiments, attempts: Attempts, client: redis.Redis
) -> None:
    damaged, sound = queue(store), queue(store)
    for experiment_id in (damaged, sound):
        claim_run(attempts, experiment_id, "cpu")
    client.hdel(key_of(damaged), "attempts")

    attempts.lose_all()

    assert store.get(sound).status == Status.QUEUED


def test_a_full_server_is_not_taken_for_damage(store: Experiments, attempts: Attempts, client: redis.Redis) -> None:
    experiment_id = queue(store)
    claim_run(attempts, experiment_id, "cpu")
    client.zadd("gradflow:leases", {experiment_id: 0})
    client.config_set("maxmemory", "1mb")
    try:
        assert attempts.sweep(10).expired == 1
    finally:
        client.config_set("maxmemory", "0")

    assert store.get(experiment_id).status == Status.QUEUED


# Kinds of damage to what a run has reserved.
OF_A_RESERVATION: dict[str, Damage] = {
    "more bytes than 64 bits": lambda client, key: client.hset(key, "reserved", "9" * 20),
    "the largest number of 18 digits": lambda client, key: client.hset(key, "reserved", "9" * 18),
    "bytes that are no number": lambda client, key: client.hset(key, "reserved", "?"),
    "a total that is no number": lambda client, _: client.set("gradflow:reserved", "?"),
    "a total that is no string": lambda client, _: (
        client.delete("gradflow:reserved"),
        client.hset("gradflow:reserved", "a", "b"),
    ),
    "a set of users of another type": lambda client, key: (
        client.set("gradflow:{d}:users", ""),
        client.hset(key, "dataset", "d"),
    ),
}
LEFT_BY_DAMAGE = {b"gradflow:reserved", b"gradflow:{d}:users"}


def finish(attempts: Attempts, experiment_id: str, attempt: int) -> None:
    attempts.finish(experiment_id, attempt, Status.SUCCEEDED, Outcome(), Timing())


@pytest.mark.leaves_keys
@pytest.mark.parametrize("unreadable", [True, False], ids=["and a damaged count of attempts", "alone"])
@pytest.mark.parametrize("damage", OF_A_RESERVATION.values(), ids=OF_A_RESERVATION)
def test_a_run_with_a_damaged_reservation_is_released_by_a_sweep_and_can_be_deleted(
    store: Experiments, attempts: Attempts, client: redis.Redis, damage: Damage, unreadable: bool
) -> None:
    damaged = queue(store)
    claim_run(attempts, damaged, "cpu")
    store.open(damaged).cancel()
    damage(client, key_of(damaged))
    if unreadable:
        client.hset(key_of(damaged), mapping={"cancel_requested": "?", "attempts_without_progress": "?"})
    client.zadd("gradflow:leases", {damaged: 0})

    assert attempts.sweep(10).expired == 1

    assert client.hget(key_of(damaged), "status") == (b"failed" if unreadable else b"cancelled")
    store.open(damaged).delete()
    assert set(keys_of(client)) <= LEFT_BY_DAMAGE


@pytest.mark.leaves_keys
@pytest.mark.parametrize("damage", OF_A_RESERVATION.values(), ids=OF_A_RESERVATION)
def test_a_run_with_a_damaged_reservation_ends_and_can_be_deleted(
    store: Experiments, attempts: Attempts, client: redis.Redis, damage: Damage
) -> None:
    damaged = queue(store)
    attempt = claim_run(attempts, damaged, "cpu")
    assert attempt is not None
    damage(client, key_of(damaged))

    finish(attempts, damaged, attempt)

    assert store.get(damaged).status == Status.SUCCEEDED
    store.open(damaged).delete()
    assert set(keys_of(client)) <= LEFT_BY_DAMAGE


@pytest.mark.leaves_keys
@pytest.mark.parametrize("damage", OF_A_RESERVATION.values(), ids=OF_A_RESERVATION)
def test_a_damaged_record_with_a_damaged_reservation_can_be_deleted(
    store: Experiments, client: redis.Redis, damage: Damage
) -> None:
    damaged = queue(store)
    client.hset(key_of(damaged), "spec", "{")
    damage(client, key_of(damaged))

    store.open(damaged).delete()

    assert set(keys_of(client)) <= LEFT_BY_DAMAGE


def test_a_running_run_without_a_lease_gets_one_from_a_sweep(
    store: Experiments, attempts: Attempts, client: redis.Redis
) -> None:
    running = queue(store)
    claim_run(attempts, running, "cpu")
    client.delete("gradflow:leases")

    swept = attempts.sweep(10)

    assert swept.next_expiry_s == pytest.approx(attempts.lease_s, abs=5)
    client.zadd("gradflow:leases", {running: 0})
    attempts.sweep(10)
    assert store.get(running).status == Status.QUEUED


def test_an_entry_among_running_runs_without_a_running_run_is_removed(
    store: Experiments, attempts: Attempts, client: redis.Redis
) -> None:
    ended = queue(store)
    store.open(ended).cancel()
    client.zadd("gradflow:experiments:status:running", {ended: 0, "gone": 0})
    attempts.sweep(10)
    client.zadd("gradflow:leases", {ended: 0, "gone": 0})

    attempts.sweep(10)

    assert store.get(ended).status == Status.CANCELLED
    assert client.exists("gradflow:experiments:status:running", "gradflow:leases", key_of("gone")) == 0


# ------------------------------------------------------------------------------------------------ studies


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_study_counts_a_damaged_run_and_shows_the_others(client: redis.Redis, damage: Damage) -> None:
    studies = Studies(client)
    study, ids = queue_study(client)
    damage(client, key_of(ids[1]))
    of_a_summary = ("one byte of the status", "no status", "a number of steps that is none", "another type of key")
    expected = int(any(damage is OF_A_RECORD[name] for name in of_a_summary))

    found, tally = studies.open(study).runs(), studies.open(study).tally()

    assert found.unreadable == tally.unreadable == expected
    assert len(found.runs) == tally.counts[Status.QUEUED] == 3 - expected
    assert studies.open(study).cancel() is True
    studies.open(study).delete()
    assert set(keys_of(client)) - {b"gradflow:reserved"} == set()


@pytest.mark.parametrize(("field", "text"), [("spec", "{"), ("created_at", "x"), ("warnings", "3")])
def test_a_damaged_study_is_left_out_of_the_list_and_can_be_deleted(client: redis.Redis, field: str, text: str) -> None:
    studies = Studies(client)
    (damaged, _), (sound, _) = queue_study(client), queue_study(client)
    client.hset(f"gradflow:{{{damaged}}}:study", field, text)

    page = studies.page(9, None)

    assert ([study.id for study in page.records], page.unreadable) == ([sound], 1)
    with pytest.raises(DamagedRecord, match=f"study {damaged} is damaged"):
        studies.get(damaged)
    studies.open(damaged).delete()
    studies.open(sound).delete()
    assert keys_of(client) == []


@contextmanager
def refused_as_a_replica(client: redis.Redis) -> Iterator[redis.Redis]:
    client.slaveof("127.0.0.1", 1)
    try:
        yield client
    finally:
        client.slaveof()


@contextmanager
def refused_by_permissions(client: redis.Redis, command: str = "hget") -> Iterator[redis.Redis]:
    allowed = {"categories": ["+@all"], "commands": [f"-{command}"], "keys": ["*"]}
    client.acl_setuser("ada", enabled=True, passwords=["+secret"], **allowed)  # type: ignore[arg-type]
    options = {**client.connection_pool.connection_kwargs, "username": "ada", "password": "secret"}
    pool = redis.ConnectionPool(client.connection_pool.connection_class, **options)
    try:
        yield redis.Redis(connection_pool=pool)
    finally:
        pool.disconnect()
        client.acl_deluser("ada")


@contextmanager
def refused_by_a_busy_server(client: redis.Redis) -> Iterator[redis.Redis]:
    def run_for_long() -> None:
        with suppress(redis.exceptions.ResponseError), redis.Redis(connection_pool=client.connection_pool) as other:
            other.eval("while true do end", 0)

    client.config_set("lua-time-limit", 1)
    script = threading.Thread(target=run_for_long)
    script.start()
    try:
        for _ in range(1_000):
            try:
                client.ping()
            except redis.exceptions.ResponseError:
                break
        yield client
    finally:
        client.script_kill()
        script.join()
        client.config_set("lua-time-limit", 5_000)


Refusal = Callable[[redis.Redis], AbstractContextManager[redis.Redis]]
REFUSALS: list[tuple[Refusal, type[Exception]]] = [
    (refused_as_a_replica, StoreUnavailable),
    (refused_by_permissions, redis.exceptions.ResponseError),
    (refused_by_a_busy_server, StoreUnavailable),
]


@pytest.mark.parametrize(("refusal", "expected"), REFUSALS, ids=[refusal.__name__ for refusal, _ in REFUSALS])
def test_a_server_that_refuses_to_delete_a_study_is_not_taken_for_damage(
    client: redis.Redis, refusal: Refusal, expected: type[Exception]
) -> None:
    study, ids = queue_study(client)
    opened = Studies(client).open(study)
    _ = opened.study
    before = set(keys_of(client))

    with refusal(client) as refused:
        handle = opened if refused is client else Studies(refused).open(study)
        with pytest.raises(expected):
            handle.delete()

    assert set(keys_of(client)) == before
    assert Studies(client).open(study).tally().counts[Status.QUEUED] == len(ids)


def test_a_sweep_without_permission_for_a_command_fails_no_run(
    store: Experiments, attempts: Attempts, client: redis.Redis
) -> None:
    running = queue(store)
    claim_run(attempts, running, "cpu")
    store.open(running).cancel()
    client.zadd("gradflow:leases", {running: 0})

    with (
        refused_by_permissions(client, "decrby") as refused,
        pytest.raises(redis.exceptions.ResponseError, match="permission"),
    ):
        Attempts(refused).sweep(10)

    assert store.get(running).status == Status.RUNNING
    client.zadd("gradflow:leases", {running: 0})
    attempts.sweep(10)
    assert store.get(running).status == Status.CANCELLED


# ------------------------------------------------------------------------------------------------ data sets and keys


@pytest.mark.parametrize(("field", "text"), [("description", "{"), ("created_at", "x"), ("bytes", "?")])
def test_a_damaged_data_set_is_left_out_of_the_list_and_can_be_deleted(
    datasets: Datasets, client: redis.Redis, field: str, text: str
) -> None:
    ids = [new_id() for _ in range(3)]
    for dataset_id in ids:
        datasets.add(dataset_id, DESCRIPTION, b"x" * 120, b"y" * 40, 10_000)
    client.hset(f"gradflow:{{{ids[1]}}}:dataset", field, text)

    page = datasets.page(9, None)

    assert {dataset.id for dataset in page.records} == {ids[0], ids[2]}
    assert page.unreadable == 1
    with pytest.raises(DamagedRecord, match=f"data set {ids[1]} is damaged"):
        datasets.get(ids[1])
    for dataset_id in ids:
        datasets.open(dataset_id).delete()
    assert set(keys_of(client)) <= {b"gradflow:datasets:bytes"}
    assert client.get("gradflow:datasets:bytes") == b"0"


@pytest.mark.parametrize("text", ["{", '{"name": 1}', "\xff"])
def test_a_damaged_key_gives_no_access_and_hides_no_other_key(client: redis.Redis, text: str) -> None:
    keys = Keys(client)
    keys.add("ada")
    (field,) = cast("list[bytes]", client.hkeys("gradflow:keys"))
    client.hset("gradflow:keys", field, text)

    assert keys.all().any_configured  # otherwise damage would open the API to everybody
    keys.add("bob")
    known = keys.all()

    assert [key.holder.name for key in known.keys] == ["bob"]
    assert known.unreadable == (field[:8].decode(),)
    assert keys.remove("ada", known.unreadable[0]) == 1
    assert keys.all().unreadable == ()


# ------------------------------------------------------------------------------------------------ through the API


def test_the_api_lists_readable_records_and_names_and_deletes_damaged_ones(
    api: httpx2.Client, client: redis.Redis
) -> None:
    damaged, sound = submit(api), submit(api)
    client.hset(key_of(damaged), "status", "qveued")

    page = api.get("/v1/experiments").json()

    assert ([found["id"] for found in page["experiments"]], page["unreadable"]) == ([sound], 1)
    for path in ("", "/gradients", "/metrics", "/diagnosis", "/theory", "/events", "/model"):
        answer = problem(api.get(f"/v1/experiments/{damaged}{path}"), 409)
        assert damaged in answer["detail"]
        assert "damaged" in answer["detail"]
    assert api.delete(f"/v1/experiments/{damaged}").status_code == 204
    assert api.get("/v1/experiments").json()["unreadable"] == 0


def test_a_sweep_releases_what_damaged_records_left_reserved(
    store: Experiments, attempts: Attempts, client: redis.Redis
) -> None:
    damaged, sound = queue(store), queue(store)
    client.delete(key_of(damaged))
    client.set(key_of(damaged), "text")
    store.open(damaged).delete()
    attempts.sweep(10)
    assert client.get("gradflow:reserved") == b"2000"  # a run that is queued

    store.open(sound).delete()
    attempts.sweep(10)

    assert keys_of(client) == []


def test_a_run_with_a_damaged_record_can_end(store: Experiments, attempts: Attempts, client: redis.Redis) -> None:
    experiment_id = queue(store)
    attempt = claim_run(attempts, experiment_id, "cpu")
    assert attempt is not None
    client.hset(key_of(experiment_id), mapping={"spec": "{", "reserved": "?"})

    attempts.finish(experiment_id, attempt, Status.FAILED, Outcome(), Timing(), "the record is damaged")

    assert client.hget(key_of(experiment_id), "status") == b"failed"
    attempts.sweep(10)
    assert client.get("gradflow:reserved") is None
