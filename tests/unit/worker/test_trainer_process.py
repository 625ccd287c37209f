"""A training process: it starts once, trains when it is notified, and leaves its run when it is to stop."""

import threading
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest

from service.contract.errors import StoreUnavailable
from worker.trainer_process import TrainerProcess

ID = "0" * 24


@dataclass
class FakeTrainer:
    """Records what is asked of it."""

    asked: list[str] = field(default_factory=list)
    abandoning_fails: bool = False

    def work(self, wake: Callable[[], object]) -> None:
        self.asked.append("work")
        wake()

    def stop(self) -> None:
        self.asked.append("stop")

    def abandon(self) -> None:
        self.asked.append("abandon")
        if self.abandoning_fails:
            raise StoreUnavailable("Redis does not answer")


@dataclass
class Exits:
    """Records the exit status instead of ending the process."""

    status: int | None = None
    exited: threading.Event = field(default_factory=threading.Event)

    def __call__(self, status: int) -> None:
        self.status = status
        self.exited.set()


@pytest.fixture
def exits() -> Exits:
    return Exits()


@pytest.fixture
def process(exits: Exits) -> TrainerProcess:
    return TrainerProcess(exits)


def ignore(_: str) -> None:
    """Publish nothing."""


def test_a_notified_process_trains_and_sends_the_message_again_if_more_is_queued(process: TrainerProcess) -> None:
    trainer, published = FakeTrainer(), list[str]()
    process.start(lambda: trainer, published.append)

    process.notify(ID)

    assert trainer.asked == ["work"]
    assert published == [ID]


def test_a_process_whose_trainer_cannot_be_made_exits_with_status_1_and_trains_nothing(
    process: TrainerProcess, exits: Exits
) -> None:
    def fail() -> FakeTrainer:
        raise ImportError("no TensorFlow here")

    process.start(fail, ignore)
    process.notify(ID)

    assert exits.status == 1


def test_a_process_that_is_to_stop_stops_its_trainer_and_lives_on_for_a_while(
    process: TrainerProcess, exits: Exits
) -> None:
    trainer = FakeTrainer()
    process.start(lambda: trainer, ignore)

    process.stop(within_s=3600)

    assert trainer.asked == ["stop"]
    assert exits.status is None


def test_a_process_that_does_not_stop_in_time_abandons_its_run_and_exits(process: TrainerProcess, exits: Exits) -> None:
    trainer = FakeTrainer()
    process.start(lambda: trainer, ignore)

    process.stop(within_s=0.0)

    assert exits.exited.wait(10)
    assert exits.status == 0
    assert trainer.asked == ["stop", "abandon"]


def test_a_process_exits_even_if_redis_does_not_answer(process: TrainerProcess, exits: Exits) -> None:
    process.start(lambda: FakeTrainer(abandoning_fails=True), ignore)

    process.end()

    assert exits.status == 0


def test_a_request_to_stop_that_arrives_while_tensorflow_is_imported_is_remembered(process: TrainerProcess) -> None:
    trainer = FakeTrainer()

    def interrupted() -> FakeTrainer:
        process.stop(within_s=3600)
        return trainer

    process.start(interrupted, ignore)

    assert trainer.asked == ["stop"]


def test_a_process_without_a_trainer_exits_when_its_time_is_over(process: TrainerProcess, exits: Exits) -> None:
    process.stop(within_s=0.0)

    assert exits.exited.wait(10)
    assert exits.status == 0
