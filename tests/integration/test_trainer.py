"""A training process: what it takes, what it leaves, and what it does while there is nothing to do."""

import threading
import time
from typing import Any

import pytest
import redis

from service.contract.attempts import Attempts
from service.contract.data_shape import shape_of
from service.contract.datasets import Datasets
from service.contract.errors import StoreUnavailable
from service.contract.norm_layout import NormLayout
from service.contract.record import Status
from service.contract.spec import ExperimentSpec
from service.contract.store import Store, new_id
from service.contract.studies import NewRun, Studies
from service.contract.study_spec import StudySpec
from tests.plans import plan_of
from worker import tasks
from worker.tasks import Trainer
from worker.training.data import load
from worker.training.engine import TrainingRun
from worker.training.programs import Programs

SMALL: dict[str, Any] = {"model": {"kind": "baseline", "depth": 1, "width": 2}, "training": {"epochs": 1}}


@pytest.fixture
def programs() -> Programs:
    return Programs()


@pytest.fixture
def trainer(store: Store, attempts: Attempts, client: redis.Redis, programs: Programs) -> Trainer:
    return Trainer("here:1", store, attempts, Datasets(client), "cpu", programs)


def queue(store: Store, **parts: object) -> str:
    spec = ExperimentSpec.model_validate(SMALL | parts).resolved()
    time.sleep(0.002)  # ids of one millisecond are in no order
    experiment_id = new_id()
    store.create(experiment_id, spec, (), shape_of(spec.data))
    return experiment_id


def test_one_message_is_enough_for_all_that_is_queued(trainer: Trainer, store: Store, programs: Programs) -> None:
    ids = [queue(store) for _ in range(3)]
    woken: list[None] = []

    trainer.work(wake=lambda: woken.append(None))

    assert {store.get(i).status for i in ids} == {Status.SUCCEEDED}
    assert {store.get(i).trainer for i in ids} == {"here:1"}
    assert len(programs) == 1
    assert woken == []


def test_a_message_without_anything_queued_does_nothing(trainer: Trainer) -> None:
    trainer.work(wake=lambda: pytest.fail("there is nothing to wake for"))


def test_after_a_while_the_rest_is_left_to_another_message(
    trainer: Trainer, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tasks, "SLICE_S", 0.0)
    ids = [queue(store) for _ in range(2)]
    woken: list[None] = []

    trainer.work(wake=lambda: woken.append(None))

    assert [store.get(i).status for i in ids] == [Status.SUCCEEDED, Status.QUEUED]
    assert len(woken) == 1


def test_what_another_trainer_is_best_for_is_left_to_it_with_a_message(
    trainer: Trainer, store: Store, client: redis.Redis, attempts: Attempts
) -> None:
    planned = plan_of(**SMALL)
    run = NewRun(planned.spec, planned.shape, (), "another", planned.work.total_steps, NormLayout.of(planned))
    study = StudySpec(base=SMALL, axes={"training.seed": [0, 1]})
    _, ids = Studies(client).create(study, [run] * 2, ())
    assert attempts.claim(ids[0], "cpu", "there:1") == 1
    woken: list[None] = []

    trainer.work(wake=lambda: woken.append(None))

    assert store.get(ids[1]).status == Status.QUEUED
    assert len(woken) == 1


def test_a_run_that_fails_leaves_the_next_one_alone(
    trainer: Trainer, store: Store, programs: Programs, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = [queue(store) for _ in range(2)]
    compile_once = TrainingRun.compile
    failures = iter([MemoryError("no room")])

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


def test_presets_are_compiled_while_there_is_nothing_to_do(trainer: Trainer, programs: Programs) -> None:
    trainer.prepare_presets()

    for preset in tasks.PRESETS:
        planned = plan_of(model=preset)
        assert programs.program_for(planned).is_compiled
        assert len(list(TrainingRun(planned, load(planned), programs.program_for(planned)).chunks())) > 0
    assert len(programs) == 2


def test_presets_wait_while_a_run_goes_on(trainer: Trainer, store: Store, programs: Programs) -> None:
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
        time.sleep(0.01)
    preparing.join()

    assert max(seen[:-1]) <= 1  # that of the run itself
    assert len(programs) == 3


def test_a_store_that_is_away_ends_the_message_and_not_the_process(datasets: Datasets) -> None:
    away = redis.Redis(unix_socket_path="/no/such/socket")

    with pytest.raises(StoreUnavailable):
        Trainer("here:1", Store(away), Attempts(away), datasets, "cpu").work(wake=lambda: None)
