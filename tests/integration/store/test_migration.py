"""What gradflow 0.1.0 wrote is migrated once and read back as 0.1.0 read it."""

import csv
import io
import re
import threading
import time
from collections.abc import Iterator
from typing import Any, cast

import pytest
import redis

from service.api.settings import ApiSettings
from service.contract.errors import SchemaMismatch
from service.contract.record import Status
from service.store import migration
from service.store.attempts import Attempts
from service.store.clock import ShiftedClock
from service.store.datasets import Datasets
from service.store.experiments import Experiments
from service.store.migration import BackgroundMigration, Migration, MigrationWaits
from service.store.names import Names
from service.store.schema import HEARTBEAT_AGE_S, HEARTBEAT_LASTS_S, SCHEMA_VERSION
from service.store.studies import Studies
from service.store.sweeper import Sweeper
from tests.support.plans import new_experiment, plan_of
from tests.support.redis_keys import keys_of
from tests.support.served_api import RecordedMessages, served
from tests.support.version_0_data import answers_of_version_0, load_version_0

# Texts for people may change, and this version counts damaged records.
NUMBER = re.compile(r"-?[0-9.]+(e[-+]?[0-9]+)?")
NOT_COMPARED = ("unreadable", "explanation", "reason", "caveats", "detail", "title")


@pytest.fixture
def old(client: redis.Redis) -> Iterator[dict[str, Any]]:
    """Data of version 0 on the server; their ids and API keys."""
    client.flushall()
    yield load_version_0(client)
    client.flushall()


def rows_of(text: str) -> list[list[str]]:
    return list(csv.reader(io.StringIO(text)))


def comparable(body: Any) -> Any:
    if isinstance(body, dict):
        return {name: comparable(value) for name, value in body.items() if name not in NOT_COMPARED}
    if isinstance(body, list):
        return [comparable(value) for value in body]
    if isinstance(body, float):
        return float(f"{body:.10g}")  # this version takes Student's t from SciPy, which differs by some 1e-14
    if isinstance(body, str) and "\n" in body:  # CSV
        return [[comparable(float(cell) if NUMBER.fullmatch(cell) else cell) for cell in row] for row in rows_of(body)]
    return "poor_initialization" if body == "poor_initialisation" else body


def dump(client: redis.Redis) -> dict[bytes, object]:
    """Every key with its value."""
    read: dict[bytes, Any] = {
        b"string": client.get,
        b"hash": client.hgetall,
        b"set": client.smembers,
        b"zset": lambda key: client.zrange(key, 0, -1, withscores=True),
        b"list": lambda key: client.lrange(key, 0, -1),
    }
    return {key: read[cast("bytes", client.type(key))](key) for key in cast("list[bytes]", client.keys("*"))}


@pytest.mark.parametrize("caller", ["operator", "alice"])
def test_every_answer_about_old_data_is_as_before(client: redis.Redis, old: dict[str, Any], caller: str) -> None:
    Migration(client).run()
    settings = ApiSettings(requests_per_s=1_000, requests_burst=1_000)
    headers = {"authorization": f"Bearer {old['api_keys'][caller]}"}

    different = []
    with served(Experiments(client), Datasets(client), RecordedMessages(), settings) as http:
        for path, before in answers_of_version_0()[caller].items():
            answer = http.get(path, headers=headers)
            body = answer.json() if "json" in answer.headers["content-type"] else answer.text
            if (answer.status_code, comparable(body)) != (before["status"], comparable(before["body"])):
                different.append(path)

    assert different == []


@pytest.mark.usefixtures("old")
def test_a_migration_that_is_repeated_changes_nothing(client: redis.Redis) -> None:
    Migration(client).run()
    once = dump(client)
    client.delete(Names()("schema"))

    Migration(client).run()

    assert dump(client) == once
    assert not [key for key in keys_of(client) if b"promised" in key or b"woken" in key]


@pytest.mark.usefixtures("old")
@pytest.mark.parametrize("calls", [0, 1, 5, 9, 13])
def test_a_migration_that_was_killed_starts_again(client: redis.Redis, calls: int) -> None:
    class Killed(BaseException):
        pass

    class Dying(Migration):
        left = calls

        def _step(self, script: str, **arguments: Any) -> Any:
            if not self.left:
                raise Killed
            self.left -= 1
            return super()._step(script, **arguments)

    dying, other = Dying(client), Migration(client)
    with pytest.raises(Killed):
        dying.run()
    with pytest.raises(SchemaMismatch, match="schema version 0"):
        Attempts(client).claim_next("cpu", "here:1")
    with pytest.raises(MigrationWaits, match="another process"):
        other.run()  # waits until the lock has expired
    client.delete(Names()("migration"))

    other.run()

    client.delete(Names()("schema"))
    once = dump(client)
    Migration(client).run()
    client.delete(Names()("schema"))
    assert dump(client) == once


@pytest.mark.usefixtures("old")
def test_queued_runs_are_claimed_and_running_ones_are_queued_again(client: redis.Redis) -> None:
    attempts, store = Attempts(client), Experiments(client)
    Migration(client).run()
    queued = store.queued()

    claimed = [claim for _ in range(len(queued) + 1) if (claim := attempts.claim_next("cpu", "here:1"))]

    assert sorted(claim.experiment_id for claim in claimed) == queued
    assert queued
    assert not attempts.any_queued()


def test_a_record_from_before_leases_queues_and_shapes_is_completed(
    store: Experiments, client: redis.Redis, attempts: Attempts
) -> None:
    names = Names()
    ids = [store.create(f"{i:024x}", new_experiment(plan_of(model="baseline").spec)).id for i in range(3)]
    queued, running, ended = ids
    store.open(ended).cancel()
    for experiment_id in ids:  # as version 0 stored them
        client.hdel(names("record", experiment_id), "shape")
    client.hset(names("record", running), "status", "running")
    client.zrem(names("with_status", "queued"), running)
    client.zadd(names("with_status", "running"), {running: 0})
    client.delete(names("queued_singles"), names("leases"), names("ended"), names("schema"))

    Migration(client).run()
    attempts.sweep(10)

    assert [store.get(experiment_id).status for experiment_id in ids] == ["queued", "queued", "cancelled"]
    assert store.get(queued).shape == plan_of(model="baseline").shape
    claims = [attempts.claim_next("cpu", "here:1") for _ in range(3)]
    assert [claim and claim.experiment_id for claim in claims] == [queued, running, None]
    attempts.sweep(10, keep_s=0.0)
    assert [record.id for record in store.page(status=Status.CANCELLED, tag=None, limit=9, before=None).records] == []


def test_a_damaged_record_does_not_stop_a_migration(client: redis.Redis, old: dict[str, Any]) -> None:
    names, store = Names(), Experiments(client)
    damaged = old["ids"]["baseline"]
    client.hset(names("record", damaged), "status", "?")
    client.hset(names("record", damaged), "promised", 1_000)
    client.incrby("gradflow:promised", 1_000)
    Migration(client).run()
    before = int(cast("bytes", client.get(names("reserved"))))

    page = store.page(status=None, tag=None, limit=200, before=None)
    assert page.unreadable == 1
    store.open(damaged).delete()
    assert store.page(status=None, tag=None, limit=200, before=None).unreadable == 0
    assert int(cast("bytes", client.get(names("reserved")) or b"0")) == before - 1_000


@pytest.mark.usefixtures("old")
def test_data_that_fill_the_server_are_migrated_and_can_be_deleted(client: redis.Redis) -> None:
    store = Experiments(client)
    client.config_set("maxmemory", "1mb")
    try:
        Migration(client).run()
        for experiment_id in store.queued():
            store.open(experiment_id).cancel()
            store.open(experiment_id).delete()
    finally:
        client.config_set("maxmemory", "0")

    assert client.get(Names()("schema")) == str(SCHEMA_VERSION).encode()
    assert store.queued() == []


@pytest.mark.usefixtures("old")
def test_a_stack_without_workers_does_not_wait_for_the_lock_of_a_killed_migration(client: redis.Redis) -> None:
    client.set(Names()("migration"), "killed", px=60_000)

    Migration(client).run(without_workers=True)

    assert client.get(Names()("schema")) == str(SCHEMA_VERSION).encode()
    assert client.get(Names()("migration")) is None


@pytest.mark.usefixtures("old")
def test_a_migration_starts_a_minute_after_the_last_heartbeat_of_an_older_trainer(client: redis.Redis) -> None:
    clock = ShiftedClock()
    client.zadd("gradflow:trainers", {"there:7": time.time() + HEARTBEAT_LASTS_S})
    waiting = Migration(client, clock=clock)
    with pytest.raises(MigrationWaits, match="1 trainers of that version"):
        waiting.run()
    clock.advance(HEARTBEAT_AGE_S - 5)
    with pytest.raises(MigrationWaits):
        waiting.run()
    clock.advance(10)

    waiting.run()

    assert client.get(Names()("schema")) == str(SCHEMA_VERSION).encode()


@pytest.mark.usefixtures("old")
def test_a_stack_without_workers_does_not_wait(client: redis.Redis) -> None:
    client.zadd("gradflow:trainers", {"there:7": time.time() + HEARTBEAT_LASTS_S})

    Migration(client).run(without_workers=True)

    assert Experiments(client).trainer_names() == []


@pytest.mark.usefixtures("old")
def test_an_api_that_must_wait_starts_and_migrates_later(client: redis.Redis) -> None:
    client.set(Names()("migration"), "another process", px=3_000)
    background = BackgroundMigration(Migration(client))

    background.start()
    background.wait(30)
    background.stop()

    assert client.get(Names()("schema")) == str(SCHEMA_VERSION).encode()


def test_an_api_migrates_older_data_that_come_from_a_backup_while_it_runs(
    client: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Counted(Migration):
        def run(self, *, without_workers: bool = False) -> None:
            super().run(without_workers=without_workers)
            runs.release()

    runs = threading.Semaphore(0)
    monkeypatch.setattr(migration, "CHECK_S", 0.05)
    background = BackgroundMigration(Counted(client))
    background.start()
    client.flushall()
    load_version_0(client)
    client.delete(Names()("schema"))

    for _ in range(50):  # a check may have begun before the data came
        assert runs.acquire(timeout=10)
        if client.get(Names()("schema")):
            break
    background.stop()

    assert client.get(Names()("schema")) == str(SCHEMA_VERSION).encode()
    assert Experiments(client).queued()


def test_a_sweep_releases_what_a_trainer_of_version_0_leaves_reserved_on_migrated_data(
    client: redis.Redis, store: Experiments, attempts: Attempts, caplog: pytest.LogCaptureFixture
) -> None:
    names, sweeper = Names(), Sweeper(attempts, lambda _: None)
    new = new_experiment(plan_of(model="baseline").spec, history_bytes=1_000)
    ended, queued = (store.create(f"{i:024x}", new).id for i in range(2))
    client.zadd("gradflow:trainers", {"there:7": time.time() + HEARTBEAT_LASTS_S})
    # Version 0 ends a run like this; it looks for the bytes under the previous name of the field.
    client.zrem(names("queued_singles"), ended)
    client.zrem(names("with_status", "queued"), ended)
    client.zadd(names("with_status", "succeeded"), {ended: 0})
    client.zadd(names("ended"), {ended: time.time()})
    client.hset(names("record", ended), mapping={"status": "succeeded", "finished_at": time.time()})

    sweeper.sweep()

    assert client.get(names("reserved")) == b"1000"
    assert client.hget(names("record", queued), "reserved") == b"1000"
    assert "1 trainers of gradflow 0.1.0 use migrated data" in caplog.text
    client.zadd("gradflow:trainers", {"there:7": time.time() - 1})
    caplog.clear()
    sweeper.sweep()
    assert caplog.text == ""
    assert client.exists("gradflow:trainers") == 0


# ------------------------------------------------------------------------------------------------ other versions


def test_data_of_a_newer_version_are_refused_with_an_explanation(client: redis.Redis, store: Experiments) -> None:
    client.set(Names()("schema"), SCHEMA_VERSION + 1)
    new = new_experiment(plan_of(model="baseline").spec)

    with pytest.raises(SchemaMismatch, match="update this process"):
        Migration(client).run()
    with pytest.raises(SchemaMismatch, match=f"schema version {SCHEMA_VERSION + 1}, and this process works with"):
        store.create("any", new)


def test_every_claim_and_write_of_a_worker_is_refused_by_data_of_another_version(
    client: redis.Redis, store: Experiments, attempts: Attempts
) -> None:
    store.create("any", new_experiment(plan_of(model="baseline").spec))
    claim = attempts.claim_next("cpu", "here:1")
    assert claim is not None
    client.delete(Names()("schema"))  # a missing one is 0

    for call in (
        lambda: attempts.claim_next("cpu", "here:1"),
        lambda: attempts.prolong(claim),
        lambda: attempts.keep_model(claim.experiment_id, claim.attempt, b""),
        lambda: attempts.drop_checkpoint(claim),
        lambda: attempts.release(claim),
        lambda: attempts.sweep(10),
        lambda: store.announce_trainer("here:1", 10),
    ):
        with pytest.raises(SchemaMismatch, match="start the API of this version"):
            call()


def test_an_empty_server_gets_this_schema_version_with_the_first_record(client: redis.Redis) -> None:
    client.flushall()

    Experiments(client).create("any", new_experiment(plan_of(model="baseline").spec))

    assert client.get(Names()("schema")) == str(SCHEMA_VERSION).encode()


def test_an_empty_server_with_trainers_of_version_0_takes_this_version_only_after_they_are_silent(
    client: redis.Redis,
) -> None:
    client.flushall()
    store = Experiments(client)
    client.zadd("gradflow:trainers", {"there:7": time.time() + HEARTBEAT_LASTS_S})
    new = new_experiment(plan_of(model="baseline").spec)
    for call in (lambda: store.create("any", new), lambda: store.announce_trainer("here:1", 10)):
        with pytest.raises(SchemaMismatch, match="schema version 0"):
            call()
    client.zadd("gradflow:trainers", {"there:7": time.time() - HEARTBEAT_AGE_S + HEARTBEAT_LASTS_S - 1})

    store.create("any", new)

    assert client.get(Names()("schema")) == str(SCHEMA_VERSION).encode()


def test_trainers_and_sweeps_continue_after_the_server_has_lost_its_data(
    client: redis.Redis, store: Experiments, attempts: Attempts
) -> None:
    store.announce_trainer("here:1", 10)
    client.flushall()

    store.announce_trainer("here:1", 10)

    assert store.trainer_names() == ["here:1"]
    assert attempts.claim_next("cpu", "here:1") is None
    assert attempts.sweep(10).expired == 0


def test_old_studies_are_read(client: redis.Redis, old: dict[str, Any]) -> None:
    studies = Studies(client)
    client.hdel(Names()("study_hash", old["ids"]["study"]), "warnings")  # as versions before 0.1.0 stored it

    Migration(client).run()

    assert studies.get(old["ids"]["study"]).warnings == ()
    assert len(studies.open(old["ids"]["study"]).runs().runs) == 4
