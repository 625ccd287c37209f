"""Leases: how long a trainer owns a run, and what happens to the run when the trainer is silent."""

import threading

import pytest
import redis

from service.contract.errors import NotFound, StaleAttempt, StoreFull
from service.contract.gradient_norm_layout import GradientNormLayout
from service.contract.history_format import STEP_LOSS, HistoryChunk, Piece
from service.contract.record import Outcome, Status, Timing
from service.contract.spec import ExperimentSpec
from service.contract.study_spec import StudySpec
from service.store.attempts import Attempts, Checkpoint, Claim
from service.store.clock import ShiftedClock
from service.store.experiments import Experiments
from service.store.ids import new_id
from service.store.queue import EXPERIMENTS_QUEUE
from service.store.retrying import MAX_ATTEMPTS_WITHOUT_PROGRESS
from service.store.studies import Studies
from service.store.sweeper import Sweeper
from tests.support.claims import claim_run
from tests.support.plans import new_experiment, plan_of
from tests.support.redis_keys import keys_of

FORMAT = "of these tests"
LEASE_S = 30.0


@pytest.fixture
def clock() -> ShiftedClock:
    return ShiftedClock()


@pytest.fixture
def attempts(client: redis.Redis, clock: ShiftedClock) -> Attempts:
    """Attempts whose clock the test moves."""
    return Attempts(client, LEASE_S, clock=clock)


def queue(store: Experiments, *tags: str) -> str:
    experiment_id = new_id()
    spec = ExperimentSpec.model_validate({"model": "baseline", "tags": tags})
    store.create(experiment_id, new_experiment(spec.resolved()))
    return experiment_id


def claimed(attempts: Attempts, experiment_id: str) -> Claim:
    attempt = claim_run(attempts, experiment_id, "cpu", "here:1", FORMAT)
    assert attempt is not None
    return Claim(experiment_id, attempt)


def write(attempts: Attempts, claim: Claim, start: int, stop: int, checkpoint: bytes | None = None) -> bool:
    piece = Piece(STEP_LOSS, 4 * start, b"".join(step.to_bytes(4, "little") for step in range(start, stop)))
    kept = None if checkpoint is None else Checkpoint(FORMAT, checkpoint)
    chunk = HistoryChunk(start, stop, stop // 25, (piece,))
    return attempts.append(*_of(claim), chunk, Outcome(loss=1 / stop), Timing(train_s=float(stop)), kept)


def _of(claim: Claim) -> tuple[str, int]:
    return claim.experiment_id, claim.attempt


def losses(store: Experiments, experiment_id: str) -> int:
    return len(store.open(experiment_id).series(STEP_LOSS, 4)) // 4


def test_a_run_whose_lease_ends_is_queued_again(store: Experiments, attempts: Attempts, clock: ShiftedClock) -> None:
    claim = claimed(attempts, queue(store))
    assert attempts.sweep(10).expired == 0
    assert store.get(claim.experiment_id).status == Status.RUNNING

    clock.advance(LEASE_S + 0.01)
    assert attempts.sweep(10).expired == 1

    assert store.get(claim.experiment_id).status == Status.QUEUED
    with pytest.raises(StaleAttempt):
        write(attempts, claim, 0, 1)
    with pytest.raises(StaleAttempt):
        attempts.prolong(claim)
    with pytest.raises(StaleAttempt):
        attempts.finish(*_of(claim), Status.SUCCEEDED, Outcome(), Timing())


@pytest.mark.parametrize("sign", ["a write", "a heartbeat"])
def test_a_write_or_a_heartbeat_prolongs_the_lease(
    store: Experiments, attempts: Attempts, clock: ShiftedClock, sign: str
) -> None:
    claim = claimed(attempts, queue(store))
    for step in range(6):
        clock.advance(LEASE_S / 3)
        assert attempts.sweep(10).expired == 0
        if sign == "a write":
            write(attempts, claim, step, step + 1)
        else:
            attempts.prolong(claim)


def test_an_attempt_continues_from_the_checkpoint_and_later_steps_are_cut_off(
    store: Experiments, attempts: Attempts, clock: ShiftedClock
) -> None:
    first = claimed(attempts, queue(store))
    write(attempts, first, 0, 30, b"at 30")
    write(attempts, first, 30, 47)
    clock.advance(0.01)
    attempts.lose(first)
    assert store.get(first.experiment_id).progress.step == 47  # readable until the next attempt begins
    assert losses(store, first.experiment_id) == 47

    second = claimed(attempts, first.experiment_id)

    record, kept = store.get(first.experiment_id), attempts.kept_state(second)
    assert second.attempt == 2
    assert kept is not None
    assert kept.state == b"at 30"
    assert kept.bytes_written == {STEP_LOSS: 120}
    assert losses(store, first.experiment_id) == 30
    assert (record.progress.step, record.progress.epoch, record.outcome) == (30, 1, Outcome(loss=1 / 30))
    assert record.timing.train_s == 30
    assert record.timing.repeated_steps == 17
    assert record.timing.resume_s > 0.01
    write(attempts, second, 30, 125)
    attempts.finish(*_of(second), Status.SUCCEEDED, Outcome(), Timing())
    assert losses(store, first.experiment_id) == 125
    assert attempts.kept_state(second) is None


def test_a_checkpoint_of_another_format_is_ignored(store: Experiments, attempts: Attempts) -> None:
    first = claimed(attempts, queue(store))
    write(attempts, first, 0, 30, b"at 30")
    attempts.lose(first)

    assert claim_run(attempts, first.experiment_id, "cpu", "here:2", "a later format") == 2

    assert attempts.kept_state(Claim(first.experiment_id, 2)) is None
    assert losses(store, first.experiment_id) == store.get(first.experiment_id).progress.step == 0
    assert store.get(first.experiment_id).timing.repeated_steps == 30


def test_a_checkpoint_may_be_written_without_new_steps(store: Experiments, attempts: Attempts) -> None:
    first = claimed(attempts, queue(store))
    write(attempts, first, 0, 9)
    for _ in range(2):
        attempts.append(*_of(first), HistoryChunk(9, 9, 0, ()), Outcome(), None, Checkpoint(FORMAT, b"at 9"))
    attempts.release(first)

    second = claimed(attempts, first.experiment_id)

    assert losses(store, first.experiment_id) == 9
    assert store.get(first.experiment_id).timing.repeated_steps == 0
    write(attempts, second, 9, 10)


def test_too_many_attempts_without_progress_end_the_run_with_the_reason(store: Experiments, attempts: Attempts) -> None:
    experiment_id = queue(store)
    for _ in range(MAX_ATTEMPTS_WITHOUT_PROGRESS):
        assert store.get(experiment_id).status == Status.QUEUED
        attempts.lose(claimed(attempts, experiment_id))

    record = store.get(experiment_id)
    assert record.status == Status.FAILED
    assert record.error is not None
    assert "10 training processes in a row died" in record.error
    assert record.finished_at is not None


def test_neither_a_checkpoint_nor_a_release_counts_as_an_attempt_without_progress(
    store: Experiments, attempts: Attempts
) -> None:
    experiment_id = queue(store)
    for step in range(MAX_ATTEMPTS_WITHOUT_PROGRESS + 3):
        claim = claimed(attempts, experiment_id)
        write(attempts, claim, step, step + 1, b"further")
        attempts.lose(claim)
    for _ in range(MAX_ATTEMPTS_WITHOUT_PROGRESS + 3):
        attempts.release(claimed(attempts, experiment_id))

    assert store.get(experiment_id).status == Status.QUEUED
    assert store.get(experiment_id).attempts == 2 * MAX_ATTEMPTS_WITHOUT_PROGRESS + 6


def test_the_next_sweep_is_due_when_the_next_lease_ends(store: Experiments, attempts: Attempts) -> None:
    sent: list[str] = []
    sweeper = Sweeper(attempts, sent.append, every_s=60)
    assert sweeper.sweep() == 60
    claimed(attempts, queue(store))

    assert sweeper.sweep() < LEASE_S + 0.1


def test_the_message_of_a_queued_run_is_sent_again_while_a_trainer_is_idle(
    store: Experiments, attempts: Attempts, client: redis.Redis, clock: ShiftedClock
) -> None:
    sent: list[str] = []
    sweeper = Sweeper(attempts, sent.append, every_s=10)
    ids = [queue(store) for _ in range(3)]

    sweeper.sweep()
    assert sent == []  # there is no trainer
    store.announce_trainer("here:1", 60)
    store.announce_trainer("here:2", 60)
    claimed(attempts, ids[0])
    client.lpush(EXPERIMENTS_QUEUE, "a message")
    sweeper.sweep()
    assert sent == []  # a message waits already
    client.delete(EXPERIMENTS_QUEUE)
    sweeper.sweep()
    sweeper.sweep()
    assert len(sent) == 1  # one trainer is idle, and the second sweep came too soon
    assert sent[0] in ids[1:]
    clock.advance(10.01)
    sweeper.sweep()
    assert len(sent) == 2


def test_a_sweeper_works_until_it_is_stopped_also_while_the_server_is_away(
    store: Experiments, attempts: Attempts, clock: ShiftedClock
) -> None:
    away = Sweeper(Attempts(redis.Redis(unix_socket_path="/no/such/socket")), print, every_s=0.01)
    away.start()
    away.stop()
    published = threading.Event()
    sweeper = Sweeper(attempts, lambda _: published.set(), every_s=0.01)
    claim = claimed(attempts, queue(store))
    store.announce_trainer("here:1", 60)
    clock.advance(LEASE_S + 0.01)

    sweeper.start()
    assert published.wait(10)
    sweeper.stop()

    assert store.get(claim.experiment_id).status == Status.QUEUED


def test_experiments_that_ended_long_ago_are_deleted_where_that_is_configured(
    store: Experiments, attempts: Attempts, client: redis.Redis
) -> None:
    study, runs = _study(client)
    ended, single = claimed(attempts, runs[0]), claimed(attempts, queue(store, "a tag", "another"))
    write(attempts, ended, 0, 5)
    for claim in (ended, single):
        attempts.finish(*_of(claim), Status.SUCCEEDED, Outcome(), Timing())

    attempts.sweep(10)
    attempts.sweep(10, keep_s=60)
    assert store.get(ended.experiment_id).status == Status.SUCCEEDED
    attempts.sweep(10, keep_s=0.0)
    assert [run.id for run in Studies(client).open(study).runs().runs] == runs[1:]
    store.open(runs[1]).cancel()
    attempts.sweep(10, keep_s=0.0)

    with pytest.raises(NotFound):
        Studies(client).get(study)
    assert keys_of(client) == []


def test_a_study_without_runs_is_deleted_after_the_same_time(
    store: Experiments, attempts: Attempts, client: redis.Redis
) -> None:
    study, runs = _study(client)
    for run in runs:
        store.open(run).cancel()
        store.open(run).delete()

    attempts.sweep(10, keep_s=60)
    assert Studies(client).get(study).id == study
    attempts.sweep(10, keep_s=0.0)

    with pytest.raises(NotFound):
        Studies(client).get(study)
    assert keys_of(client) == []


def test_a_run_on_a_full_server_drops_its_checkpoint_or_ends_if_its_cancellation_was_requested(
    store: Experiments, attempts: Attempts, client: redis.Redis
) -> None:
    kept, unwanted, lost = (claimed(attempts, queue(store)) for _ in range(3))
    for claim in (kept, unwanted, lost):
        write(attempts, claim, 0, 5, b"a checkpoint")
    client.config_set("maxmemory", "1mb")
    try:
        store.open(unwanted.experiment_id).cancel()
        attempts.lose(lost)

        assert [attempts.drop_checkpoint(kept) for _ in range(2)] == [True, False]
        for claim in (unwanted, lost):
            with pytest.raises(StaleAttempt):
                attempts.drop_checkpoint(claim)
    finally:
        client.config_set("maxmemory", "0")

    statuses = [store.get(claim.experiment_id).status for claim in (kept, unwanted, lost)]
    assert statuses == [Status.RUNNING, Status.CANCELLED, Status.QUEUED]
    assert attempts.kept_state(kept) is None
    assert attempts.kept_state(lost) is not None  # it belongs to the next attempt


def _study(client: redis.Redis) -> tuple[str, list[str]]:
    planned = plan_of(model="baseline")
    run = new_experiment(planned.spec, (), planned.shape, "a", 125, GradientNormLayout.of(planned))
    study, ids = Studies(client).create(StudySpec(base={}, axes={"training.seed": [0, 1]}), [run] * 2, (), ())
    return study.id, ids


def test_leases_are_prolonged_and_runs_released_on_a_full_server(
    store: Experiments, attempts: Attempts, client: redis.Redis, clock: ShiftedClock
) -> None:
    kept, left, lapsed = (claimed(attempts, queue(store)) for _ in range(3))
    client.config_set("maxmemory", "1mb")
    try:
        attempts.release(left)
        for _ in range(3):
            clock.advance(LEASE_S / 2)
            attempts.prolong(kept)
        assert attempts.sweep(10).expired == 1
    finally:
        client.config_set("maxmemory", "0")

    statuses = [store.get(claim.experiment_id).status for claim in (kept, left, lapsed)]
    assert statuses == [Status.RUNNING, Status.QUEUED, Status.QUEUED]


def test_no_run_is_claimed_on_a_full_server(store: Experiments, attempts: Attempts, client: redis.Redis) -> None:
    waiting = queue(store)
    client.config_set("maxmemory", "1mb")
    try:
        with pytest.raises(StoreFull):
            claim_run(attempts, waiting, "cpu", "here:2", FORMAT)
        with pytest.raises(StoreFull):
            attempts.claim_next("cpu", "here:2", (), FORMAT)
    finally:
        client.config_set("maxmemory", "0")

    assert store.get(waiting).attempts == 0
