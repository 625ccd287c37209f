"""The store on a real server."""

from collections.abc import Iterator

import pytest
import redis

from service.contract.errors import Conflict, NotFound, StaleAttempt, StoreFull, StoreUnavailable
from service.contract.history import HistoryChunk
from service.contract.record import Outcome, Status, Timing
from service.contract.settings import RedisSettings
from service.contract.spec import ExperimentSpec
from service.contract.store import Store, connect, new_experiment_id

COLUMNS = 24  # trainable variables of the baseline preset


def _spec(*tags: str, epochs: int = 5) -> ExperimentSpec:
    body = {"model": "baseline", "tags": list(tags), "training": {"epochs": epochs}}
    return ExperimentSpec.model_validate(body).resolved()


def _chunk(start: int, stop: int, epochs_before: int = 0, epochs: int = 0) -> HistoryChunk:
    steps = stop - start
    return HistoryChunk(
        start, stop, epochs_before, b"\1" * (4 * COLUMNS * steps), b"\2" * (4 * steps), b"\3" * 16 * epochs
    )


def _queued(store: Store, *tags: str) -> str:
    experiment_id = new_experiment_id()
    store.create(experiment_id, _spec(*tags))
    return experiment_id


def _running(store: Store) -> tuple[str, int]:
    experiment_id = _queued(store)
    attempt = store.claim(experiment_id, "cpu")
    assert attempt is not None
    return experiment_id, attempt


def test_a_run_goes_from_queued_to_succeeded_with_all_that_was_written(store: Store) -> None:
    experiment_id = _queued(store, "a")
    assert store.get(experiment_id).status == Status.QUEUED
    assert store.get(experiment_id).progress.total_steps == 125

    attempt = store.claim(experiment_id, "cpu")
    assert attempt == 1
    assert store.append(experiment_id, attempt, _chunk(0, 25, 0, 1), Outcome(loss=0.7)) is False
    assert store.append(experiment_id, attempt, _chunk(25, 30, 1), Outcome(loss=0.7)) is False
    halfway = store.get(experiment_id)
    assert (halfway.status, halfway.progress.step, halfway.progress.epoch) == (Status.RUNNING, 30, 1)
    assert halfway.outcome.loss == 0.7

    store.finish(experiment_id, attempt, Status.SUCCEEDED, Outcome(loss=0.6), Timing(train_s=1.5))
    ended = store.get(experiment_id)
    assert ended.status == Status.SUCCEEDED
    assert ended.outcome.loss == 0.6
    assert ended.timing.train_s == 1.5
    assert ended.timing.queued_s is not None
    assert ended.started_at is not None
    assert ended.finished_at is not None
    assert ended.created_at <= ended.started_at <= ended.finished_at
    assert len(store.gradient_norms(experiment_id, COLUMNS, 0, None)) == 4 * COLUMNS * 30
    assert len(store.gradient_norms(experiment_id, COLUMNS, 10, 12)) == 4 * COLUMNS * 2
    assert store.gradient_norms(experiment_id, COLUMNS, 12, 12) == b""
    assert len(store.step_losses(experiment_id)) == 4 * 30
    assert len(store.epoch_metrics(experiment_id)) == 16


def test_a_run_is_claimed_once(store: Store) -> None:
    experiment_id, _ = _running(store)

    assert store.claim(experiment_id, "cpu") is None
    assert store.claim("no such id", "cpu") is None


def test_a_write_has_its_effect_once_however_often_it_is_repeated(store: Store) -> None:
    experiment_id, attempt = _running(store)
    chunk = _chunk(0, 25, 0, 1)

    for _ in range(3):
        store.append(experiment_id, attempt, chunk, Outcome())
    store.append(experiment_id, attempt, _chunk(25, 26, 1), Outcome())

    assert len(store.step_losses(experiment_id)) == 4 * 26
    assert store.get(experiment_id).progress.step == 26


@pytest.mark.parametrize("chunk", [_chunk(5, 9), _chunk(0, 3), _chunk(26, 30, 1), _chunk(25, 30, 0)])
def test_a_chunk_that_does_not_join_the_history_is_refused(store: Store, chunk: HistoryChunk) -> None:
    experiment_id, attempt = _running(store)
    store.append(experiment_id, attempt, _chunk(0, 25, 0, 1), Outcome())

    with pytest.raises(StaleAttempt):
        store.append(experiment_id, attempt, chunk, Outcome())
    assert len(store.step_losses(experiment_id)) == 4 * 25


def test_an_attempt_that_was_overtaken_can_neither_write_nor_end_the_run(store: Store) -> None:
    experiment_id, first = _running(store)
    store.append(experiment_id, first, _chunk(0, 10), Outcome())
    store.requeue_running()
    assert store.get(experiment_id).status == Status.QUEUED
    assert store.step_losses(experiment_id) == b""
    second = store.claim(experiment_id, "cpu")

    assert second == first + 1
    with pytest.raises(StaleAttempt):
        store.append(experiment_id, first, _chunk(10, 20), Outcome())
    with pytest.raises(StaleAttempt):
        store.append(experiment_id, first, _chunk(0, 10), Outcome())
    with pytest.raises(StaleAttempt):
        store.finish(experiment_id, first, Status.SUCCEEDED, Outcome(), Timing())
    assert store.get(experiment_id).status == Status.RUNNING


def test_an_end_may_be_repeated_but_not_changed(store: Store) -> None:
    experiment_id, attempt = _running(store)
    for _ in range(2):
        store.finish(experiment_id, attempt, Status.FAILED, Outcome(), Timing(), "why")

    with pytest.raises(StaleAttempt):
        store.finish(experiment_id, attempt, Status.SUCCEEDED, Outcome(), Timing())
    assert store.get(experiment_id).error == "why"


def test_a_cancel_ends_a_queued_run_at_once_and_tells_a_running_one_at_its_next_write(store: Store) -> None:
    queued = _queued(store)
    assert store.cancel(queued) is True
    assert store.get(queued).status == Status.CANCELLED
    assert store.cancel(queued) is False
    assert store.claim(queued, "cpu") is None

    running, attempt = _running(store)
    assert store.cancel(running) is True
    assert store.get(running).status == Status.RUNNING
    assert store.append(running, attempt, _chunk(0, 1), Outcome()) is True
    with pytest.raises(NotFound):
        store.cancel("no such id")


def test_a_cancelled_run_is_not_queued_again(store: Store) -> None:
    experiment_id, _ = _running(store)
    store.cancel(experiment_id)
    store.requeue_running()

    assert store.get(experiment_id).status == Status.CANCELLED


def test_deleting_leaves_no_key_and_spares_what_runs(store: Store, client: redis.Redis) -> None:
    experiment_id, attempt = _running(store)
    tagged = _queued(store, "a", "b")
    with pytest.raises(Conflict):
        store.delete(experiment_id)
    store.append(experiment_id, attempt, _chunk(0, 5), Outcome())
    store.finish(experiment_id, attempt, Status.SUCCEEDED, Outcome(), Timing())

    store.delete(experiment_id)
    store.delete(tagged)

    assert client.keys("*") == []
    with pytest.raises(NotFound):
        store.get(experiment_id)
    with pytest.raises(NotFound):
        store.delete(experiment_id)


@pytest.mark.parametrize("limit", [1, 7, 200])
def test_pages_show_everything_once_newest_first(store: Store, limit: int) -> None:
    ids = [_queued(store, *(["even"] if i % 2 == 0 else [])) for i in range(23)]
    for experiment_id in ids[::3]:
        store.cancel(experiment_id)

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


def test_a_recorded_value_takes_at_most_4_5_bytes(store: Store) -> None:
    experiment_id = new_experiment_id()
    store.create(experiment_id, _spec(epochs=40))
    attempt = store.claim(experiment_id, "cpu")
    assert attempt is not None
    for epoch in range(40):
        store.append(experiment_id, attempt, _chunk(25 * epoch, 25 * epoch + 25, epoch, 1), Outcome())
    store.finish(experiment_id, attempt, Status.SUCCEEDED, Outcome(loss=0.1), Timing())

    recorded = COLUMNS * 1000
    assert store.bytes_used(experiment_id) / recorded <= 4.5  # 4 of them are the value


def test_trainers_are_known_for_as_long_as_they_said(store: Store) -> None:
    store.announce_trainer("a:1", 60)
    store.announce_trainer("b:2", 60)
    store.announce_trainer("c:3", -1)
    assert sorted(store.trainer_names()) == ["a:1", "b:2"]

    store.withdraw_trainers()
    assert store.trainer_names() == []


def test_a_server_that_is_away_is_an_error_of_ours() -> None:
    store = Store(connect(RedisSettings(url="unix:///no/such/socket")))

    with pytest.raises(StoreUnavailable):
        store.get("any")
    with pytest.raises(StoreUnavailable):
        store.create("any", _spec())


def test_a_full_server_refuses_what_is_new_and_keeps_what_it_has(store: Store, client: redis.Redis) -> None:
    kept = _queued(store)
    client.config_set("maxmemory", "1mb")
    try:
        with pytest.raises(StoreFull):
            store.create(new_experiment_id(), _spec())
        assert store.get(kept).status == Status.QUEUED
    finally:
        client.config_set("maxmemory", "0")
