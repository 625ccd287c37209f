"""A trainer: which runs it claims, which it releases, and what it does while it is idle."""

import io
import itertools
import threading
import time
import zipfile
from collections.abc import Callable
from typing import Any

import h5py
import numpy as np
import pytest
import redis

from service.contract.errors import StoreFull, StoreUnavailable
from service.contract.gradient_norm_layout import GradientNormLayout
from service.contract.history_format import FIRST_BATCH, SERIES
from service.contract.record import Status
from service.contract.spec import ExperimentSpec
from service.contract.study_spec import StudySpec
from service.store.attempts import Attempts, Checkpoint
from service.store.datasets import DatasetHandle, Datasets
from service.store.experiments import Experiments
from service.store.ids import new_id
from service.store.studies import Studies
from service.uploads.intake import Intake
from service.uploads.table import UploadLimits
from tests.support.claims import claim_run
from tests.support.plans import new_experiment, plan_of
from worker import reporting, tasks
from worker.processes import heartbeat
from worker.reporting import Reporter
from worker.tasks import Trainer
from worker.training.checkpoint import FORMAT
from worker.training.data import load
from worker.training.engine import Chunk, TrainingRun
from worker.training.programs import Programs

SMALL: dict[str, Any] = {"model": {"kind": "baseline", "depth": 1, "width": 2}, "training": {"epochs": 1}}

NUMBERS = itertools.count(1)  # ids are in the order of submission


@pytest.fixture
def programs() -> Programs:
    return Programs()


@pytest.fixture
def trainer(store: Experiments, attempts: Attempts, client: redis.Redis, programs: Programs) -> Trainer:
    return Trainer("here:1", store, attempts, Datasets(client), "cpu", programs)


def queue(store: Experiments, **parts: object) -> str:
    spec = ExperimentSpec.model_validate(SMALL | parts).resolved()
    experiment_id = f"{next(NUMBERS):024x}"
    store.create(experiment_id, new_experiment(spec))
    return experiment_id


def test_one_message_is_enough_for_all_queued_runs(trainer: Trainer, store: Experiments, programs: Programs) -> None:
    ids = [queue(store) for _ in range(3)]
    messages: list[None] = []

    trainer.work(wake=lambda: messages.append(None))

    assert {store.get(i).status for i in ids} == {Status.SUCCEEDED}
    assert {store.get(i).trainer for i in ids} == {"here:1"}
    assert len(programs) == 1
    assert messages == []


def test_a_message_does_nothing_if_nothing_is_queued(trainer: Trainer) -> None:
    trainer.work(wake=lambda: pytest.fail("nothing is queued"))


def test_after_a_while_another_message_is_sent_for_the_remaining_runs(
    trainer: Trainer, store: Experiments, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tasks, "SLICE_S", 0.0)
    ids = [queue(store) for _ in range(2)]
    messages: list[None] = []

    trainer.work(wake=lambda: messages.append(None))

    assert [store.get(i).status for i in ids] == [Status.SUCCEEDED, Status.QUEUED]
    assert len(messages) == 1


def test_a_run_for_which_another_trainer_has_the_program_is_left_to_it_with_a_message(
    trainer: Trainer, store: Experiments, client: redis.Redis, attempts: Attempts
) -> None:
    planned = plan_of(**SMALL)
    run = new_experiment(planned.spec, (), planned.shape, "another", norms=GradientNormLayout.of(planned))
    study = StudySpec(base=SMALL, axes={"training.seed": [0, 1]})
    _, ids = Studies(client).create(study, [run] * 2, (), ())
    assert claim_run(attempts, ids[0], "cpu", "there:1") == 1
    messages: list[None] = []

    trainer.work(wake=lambda: messages.append(None))

    assert store.get(ids[1]).status == Status.QUEUED
    assert len(messages) == 1


def test_a_run_that_fails_does_not_affect_the_next_one(
    trainer: Trainer, store: Experiments, programs: Programs, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = [queue(store) for _ in range(2)]
    compile_once = TrainingRun.compile
    failures = iter([MemoryError("no memory")])

    def failing(run: TrainingRun) -> None:
        for failure in failures:
            raise failure
        compile_once(run)

    monkeypatch.setattr(TrainingRun, "compile", failing)

    trainer.work(wake=lambda: None)

    failed, succeeded = (store.get(i) for i in ids)
    assert failed.status == Status.FAILED
    assert failed.error is not None
    assert "out of memory" in failed.error
    assert succeeded.status == Status.SUCCEEDED
    assert len(programs) == 1


def test_presets_are_compiled_while_the_trainer_is_idle(trainer: Trainer, programs: Programs) -> None:
    trainer.prepare_presets()

    for preset in tasks.PRESETS:
        planned = plan_of(model=preset)
        assert programs.program_for(planned).is_compiled
        assert len(list(TrainingRun(planned, load(planned), programs.program_for(planned)).chunks())) > 0
    assert len(programs) == 2


def test_presets_are_not_compiled_during_a_run(trainer: Trainer, store: Experiments, programs: Programs) -> None:
    queue(store, training={"epochs": 300})
    seen: list[int] = []
    worker = threading.Thread(target=trainer.work, args=(lambda: None,))
    worker.start()
    while not trainer.is_busy:
        time.sleep(0.001)
    preparing = threading.Thread(target=trainer.prepare_presets)
    preparing.start()
    while worker.is_alive():
        seen.append(len(programs))
        worker.join(0.01)
    preparing.join()

    assert max(seen[:-1]) <= 1  # the program of the run itself
    assert len(programs) == 3


def test_without_redis_the_message_fails_and_the_process_lives(datasets: Datasets) -> None:
    unreachable = redis.Redis(unix_socket_path="/no/such/socket")

    with pytest.raises(StoreUnavailable):
        Trainer("here:1", Experiments(unreachable), Attempts(unreachable), datasets, "cpu").work(wake=lambda: None)


def test_the_first_batch_is_stored_with_its_errors(trainer: Trainer, store: Experiments) -> None:
    experiment_id = queue(store)

    trainer.work(wake=lambda: None)

    planned = plan_of(**SMALL)
    packed = np.frombuffer(store.open(experiment_id).series(FIRST_BATCH, 1), "<f4")
    rows, errors = packed[:-32].reshape(32, 20), packed[-32:]
    assert 4 * len(packed) == planned.first_batch_bytes
    assert sum(len(series) for series in recorded(store, experiment_id)) == planned.history_bytes
    assert {row.tobytes() for row in rows} <= {row.tobytes() for row in load(planned).x_train}
    assert np.all(np.abs(errors) < 1)
    assert np.any(errors)
    bias = [variable.name for variable in planned.variables].index("output/bias")
    norms = np.frombuffer(store.open(experiment_id).series("gradient_norm", 1), "<f4")
    assert abs(errors.mean()) == pytest.approx(norms[bias], rel=1e-4)  # the gradient of the mean loss


def test_a_first_batch_that_is_too_large_is_not_stored(trainer: Trainer, store: Experiments) -> None:
    experiment_id = queue(store, data={"source": "random", "samples": 40, "features": 9000})

    trainer.work(wake=lambda: None)

    assert store.get(experiment_id).status == Status.SUCCEEDED
    assert store.open(experiment_id).series(FIRST_BATCH, 1) == b""


LONG: dict[str, Any] = SMALL | {"training": {"epochs": 400}}


def in_a_thread(trainer: Trainer) -> threading.Thread:
    thread = threading.Thread(target=trainer.work, args=(lambda: None,))
    thread.start()
    return thread


def until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def recorded(store: Experiments, experiment_id: str) -> list[bytes]:
    return [store.open(experiment_id).series(name, 1) for name in SERIES]


def test_a_run_of_a_stopping_trainer_continues_in_another_one_to_the_same_bytes(
    trainer: Trainer, store: Experiments, attempts: Attempts, datasets: Datasets, programs: Programs
) -> None:
    whole = queue(store, **LONG)
    trainer.work(wake=lambda: None)
    left = queue(store, **LONG)
    stopping = Trainer("here:2", store, attempts, datasets, "cpu", programs)
    thread = in_a_thread(stopping)
    until(lambda: store.get(left).progress.step > 1)

    stopping.stop()
    thread.join()

    record = store.get(left)
    assert record.status == Status.QUEUED
    assert 0 < record.progress.step < record.progress.total_steps
    trainer.work(wake=lambda: None)
    record = store.get(left)
    assert record.status == Status.SUCCEEDED
    assert record.timing.repeated_steps == 0
    assert recorded(store, left) == recorded(store, whole)
    assert store.open(left).series(FIRST_BATCH, 1)


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # Keras, when it writes a file
def test_a_trainer_that_stops_after_the_last_step_stores_the_same_model_as_without_the_stop(
    trainer: Trainer, store: Experiments, monkeypatch: pytest.MonkeyPatch
) -> None:
    stopping = {"monitor": "val_loss", "patience": 3, "restore_best_weights": True}
    spec: dict[str, Any] = {
        "training": {"epochs": 40, "early_stopping": stopping, "optimizer": {"name": "adam", "learning_rate": 0.3}},
        "recording": {"keep_model": True},
    }
    whole = queue(store, **spec)
    write = Reporter.write
    trainer.work(wake=lambda: None)
    last = store.get(whole).progress.step
    stopped = queue(store, **spec)

    def stop_after_the_last(report: Reporter, chunk: Chunk, checkpoint: Callable[[], bytes]) -> None:
        write(report, chunk, checkpoint)
        if chunk.stop == last:
            trainer.stop()

    monkeypatch.setattr(Reporter, "write", stop_after_the_last)
    trainer.work(wake=lambda: None)

    assert store.get(whole).outcome.stopped_early
    assert weights_of(store.open(stopped).model()) == weights_of(store.open(whole).model())


def weights_of(file: bytes) -> dict[str, bytes]:
    """The variables in a `.keras` file, which also contains the time."""
    with zipfile.ZipFile(io.BytesIO(file)) as parts, h5py.File(io.BytesIO(parts.read("model.weights.h5"))) as weights:
        found: dict[str, bytes] = {}

        def take(name: str, item: h5py.Dataset | h5py.Group) -> None:
            if isinstance(item, h5py.Dataset):
                found[name] = item[()].tobytes()

        weights.visititems(take)
        return found


def test_a_trainer_waits_for_a_server_that_does_not_answer_while_data_are_read(
    store: Experiments, attempts: Attempts, client: redis.Redis, programs: Programs, monkeypatch: pytest.MonkeyPatch
) -> None:
    class UnavailableAtFirst(Datasets):
        asked = 0

        def open(self, dataset_id: str) -> DatasetHandle:
            self.asked += 1
            if self.asked == 2:  # the first call is the upload's, the second the trainer's
                raise StoreUnavailable("it does not answer")
            return super().open(dataset_id)

    monkeypatch.setattr(reporting, "RETRY_AFTER_S", 0.01)
    datasets = UnavailableAtFirst(client)
    rows = "a,b,kind\n" + "".join(f"{i},{i * i % 7},{i % 2}\n" for i in range(40))
    kept = Intake(datasets, UploadLimits(), 2**20).take(io.BytesIO(rows.encode()), "text/csv", None, None, "auto")
    spec = ExperimentSpec.model_validate(SMALL | {"data": {"source": "upload", "dataset_id": kept.id}}).resolved()
    experiment_id = new_id()
    store.create(experiment_id, new_experiment(spec, (), kept.description.shape))

    Trainer("here:1", store, attempts, datasets, "cpu", programs).work(wake=lambda: None)

    assert datasets.asked == 3
    assert store.get(experiment_id).status == Status.SUCCEEDED


def test_a_stopping_trainer_claims_nothing(trainer: Trainer, store: Experiments) -> None:
    experiment_id = queue(store)
    messages: list[None] = []
    trainer.stop()

    trainer.work(wake=lambda: messages.append(None))

    assert store.get(experiment_id).status == Status.QUEUED
    assert len(messages) == 1  # for another trainer


def test_a_trainer_that_has_lost_its_lease_does_not_touch_the_run_of_its_successor(
    trainer: Trainer, store: Experiments, attempts: Attempts
) -> None:
    experiment_id = queue(store, **SMALL | {"training": {"epochs": 4_000}})
    thread = in_a_thread(trainer)
    until(lambda: store.get(experiment_id).progress.step > 1)
    attempts.lose_all()
    assert claim_run(attempts, experiment_id, "cpu", "there:1", FORMAT) == 2
    taken_at = store.get(experiment_id).progress.step

    trainer.hold()
    thread.join()

    record = store.get(experiment_id)
    assert (record.status, record.attempts, record.trainer) == (Status.RUNNING, 2, "there:1")
    assert record.progress.step == taken_at


@pytest.fixture
def may_compile(monkeypatch: pytest.MonkeyPatch) -> threading.Event:
    """An event for which compiling waits."""
    compile_at_once, event = TrainingRun.compile, threading.Event()

    def slowly(run: TrainingRun) -> None:
        event.wait()
        compile_at_once(run)

    monkeypatch.setattr(TrainingRun, "compile", slowly)
    return event


def test_a_trainer_that_compiles_for_longer_than_its_lease_keeps_its_run(
    store: Experiments, client: redis.Redis, datasets: Datasets, may_compile: threading.Event
) -> None:
    attempts = Attempts(client)
    trainer = Trainer("here:1", store, attempts, datasets, "cpu")
    experiment_id = queue(store)
    thread = in_a_thread(trainer)
    until(lambda: store.get(experiment_id).status == Status.RUNNING)
    for _ in range(3):
        client.zadd("gradflow:leases", {experiment_id: 0})  # the lease ends
        trainer.hold()
        assert attempts.sweep(10).expired == 0
    may_compile.set()
    thread.join()

    assert store.get(experiment_id).status == Status.SUCCEEDED
    assert store.get(experiment_id).attempts == 1


def test_a_trainer_that_must_exit_while_it_compiles_releases_its_run(
    trainer: Trainer, store: Experiments, attempts: Attempts, may_compile: threading.Event
) -> None:
    experiment_id = queue(store)
    thread = in_a_thread(trainer)
    until(lambda: store.get(experiment_id).status == Status.RUNNING)

    trainer.stop()
    trainer.abandon()

    assert store.get(experiment_id).status == Status.QUEUED
    assert claim_run(attempts, experiment_id, "cpu", "there:1", FORMAT) == 2
    may_compile.set()
    thread.join()  # its next write is refused
    assert store.get(experiment_id).trainer == "there:1"
    assert store.get(experiment_id).progress.step == 0


def test_a_run_continues_without_checkpoints_that_do_not_fit_into_memory(
    trainer: Trainer, store: Experiments, monkeypatch: pytest.MonkeyPatch
) -> None:
    append = Attempts.append
    kept: list[Checkpoint | None] = []

    def full(*arguments: Any) -> bool:
        kept.append(arguments[-1] if len(arguments) == 7 else None)
        if kept[-1] is not None:
            raise StoreFull("Redis is full")
        return append(*arguments)

    monkeypatch.setattr(Attempts, "append", full)
    experiment_id = queue(store, **LONG)

    trainer.work(wake=lambda: None)

    assert any(checkpoint is not None for checkpoint in kept)
    assert store.get(experiment_id).status == Status.SUCCEEDED


def test_in_a_full_server_the_checkpoint_of_a_run_is_deleted_for_its_history(
    store: Experiments, attempts: Attempts, datasets: Datasets, client: redis.Redis
) -> None:
    trainer = Trainer(
        "here:1", store, attempts, datasets, "cpu", checkpoint_every_s=600
    )  # one checkpoint, with the first chunk
    wide = {"model": {"kind": "mlp", "depth": 2, "width": 1024}, "training": {"epochs": 400}}
    experiment_id = queue(store, **wide)
    kept = f"gradflow:{{{experiment_id}}}:checkpoint"
    thread = in_a_thread(trainer)
    until(lambda: client.exists(kept) == 1)
    client.config_set("maxmemory", "8mb")  # less than the checkpoint of 13 MB
    try:
        until(lambda: client.exists(kept) == 0)
        without = store.get(experiment_id)
        until(lambda: store.get(experiment_id).progress.step > without.progress.step)
    finally:
        client.config_set("maxmemory", "0")
        store.open(experiment_id).cancel()
        thread.join()

    assert without.status == Status.RUNNING


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # Keras, when it writes a file
@pytest.mark.parametrize("kind", ["baseline", "improved"])
@pytest.mark.parametrize(("depth", "width"), [(1, 1), (3, 256), (30, 4)])
def test_the_memory_reserved_for_a_run_includes_its_model(
    trainer: Trainer, store: Experiments, kind: str, depth: int, width: int
) -> None:
    parts: dict[str, Any] = {"model": {"kind": kind, "depth": depth, "width": width}, "training": {"epochs": 1}}
    kept = {"keep_model": True}
    experiment_id = queue(store, **parts, recording=kept)

    trainer.work(wake=lambda: None)

    reserved = plan_of(**parts, recording=kept).history_bytes - plan_of(**parts).history_bytes
    assert 0.3 * reserved < len(store.open(experiment_id).model()) < reserved


def test_a_trainer_renews_its_lease_in_a_full_server(store: Experiments, client: redis.Redis) -> None:
    renewals: list[None] = []

    def sleep(_: float) -> None:
        if len(renewals) == 3:
            raise InterruptedError

    client.config_set("maxmemory", "1mb")
    try:
        with pytest.raises(InterruptedError):
            heartbeat(store, "here:1", lambda: renewals.append(None), 0.1, sleep)
    finally:
        client.config_set("maxmemory", "0")

    assert len(renewals) == 3


def test_a_run_that_waits_for_memory_can_be_cancelled(
    trainer: Trainer, store: Experiments, client: redis.Redis
) -> None:
    experiment_id = queue(store, **LONG)
    thread = in_a_thread(trainer)
    until(lambda: store.get(experiment_id).progress.step > 1)
    client.config_set("maxmemory", "1mb")
    try:
        store.open(experiment_id).cancel()
        thread.join(60)
        store.open(experiment_id).delete()
    finally:
        client.config_set("maxmemory", "0")

    assert not thread.is_alive()


def test_checkpoints_are_rarer_if_the_interval_is_longer(
    store: Experiments, datasets: Datasets, programs: Programs
) -> None:
    def checkpoints(every_s: float) -> int:
        kept = []

        class Counting(Attempts):
            def append(self, *arguments: Any) -> bool:
                kept.append(arguments[-1])
                return super().append(*arguments)

        counting = Counting(store.client)
        one = Trainer("here:1", store, counting, datasets, "cpu", programs, checkpoint_every_s=every_s)
        queue(store, **LONG)
        one.work(wake=lambda: None)
        return sum(checkpoint is not None for checkpoint in kept)

    assert checkpoints(600) == 1  # with the first chunk
    assert checkpoints(0.2) > 1
