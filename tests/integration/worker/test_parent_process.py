"""The parent of the trainers: it recovers the runs of trainers that died, and tells the others to stop."""

import itertools
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator

import pytest
import redis

from service.contract.record import Status
from service.contract.spec import ExperimentSpec
from service.store.attempts import Attempts
from service.store.experiments import Experiments
from service.store.queue import EXPERIMENTS_QUEUE
from service.store.settings import LeaseSettings, RedisSettings
from tests.support.claims import claim_run
from tests.support.plans import new_experiment
from worker import parent_process
from worker.settings import Settings, WorkerSettings

NUMBERS = itertools.count(1)  # of experiments
CATCHES = f"""
import signal, sys
signal.signal({parent_process.STOP_SIGNAL.value}, lambda *_: sys.exit(7))
print(flush=True)
signal.pause()
"""


@pytest.fixture
def settings(redis_settings: RedisSettings) -> Settings:
    return Settings(redis_settings, LeaseSettings(), WorkerSettings())


@pytest.fixture
def dead_pid() -> int:
    """The id of a process that has ended."""
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        process.wait()
        return process.pid


def running(store: Experiments, attempts: Attempts, trainer: str) -> str:
    """The id of a run that this trainer has claimed."""
    experiment_id = f"{next(NUMBERS):024x}"
    store.create(experiment_id, new_experiment(ExperimentSpec.model_validate({"model": "baseline"}).resolved()))
    assert claim_run(attempts, experiment_id, "cpu", trainer) == 1
    return experiment_id


def test_only_the_run_of_a_dead_trainer_of_this_host_is_queued_again_with_a_message(
    settings: Settings, store: Experiments, attempts: Attempts, client: redis.Redis, dead_pid: int
) -> None:
    host = socket.gethostname()
    lost = running(store, attempts, f"{host}:{dead_pid}")
    kept = running(store, attempts, f"{host}:{os.getpid()}")
    elsewhere = running(store, attempts, f"not-{host}:{dead_pid}")

    parent_process.recover_from_lost_child(settings, lost)

    assert store.get(lost).status == Status.QUEUED
    assert store.get(kept).status == store.get(elsewhere).status == Status.RUNNING
    assert client.llen(EXPERIMENTS_QUEUE) == 1


@pytest.fixture
def child(monkeypatch: pytest.MonkeyPatch) -> Iterator["subprocess.Popen[bytes]"]:
    """A child of the pool that exits with status 7 when it is asked to stop."""
    with subprocess.Popen([sys.executable, "-c", CATCHES], stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        child.stdout.readline()
        monkeypatch.setattr(parent_process, "active_children", lambda: [child])
        yield child
        child.kill()


def test_children_are_asked_to_stop(child: "subprocess.Popen[bytes]") -> None:
    parent_process.stop_children()

    assert child.wait() == 7


def test_a_child_that_has_died_does_not_keep_the_parent_from_stopping(child: "subprocess.Popen[bytes]") -> None:
    os.kill(child.pid, signal.SIGKILL)
    child.wait()

    parent_process.stop_children()
