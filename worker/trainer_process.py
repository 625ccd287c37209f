"""A training process: a child of the worker's pool."""

import contextlib
import logging
import os
import threading
from collections.abc import Callable
from functools import partial
from typing import Protocol

from service.contract.errors import StoreUnavailable
from service.store.attempts import Attempts
from service.store.connection import connect
from service.store.datasets import Datasets
from service.store.experiments import Experiments
from worker import program_cache
from worker.processes import heartbeat, process_name
from worker.settings import Settings

logger = logging.getLogger(__name__)


class Trains(Protocol):
    """What a training process needs of `worker.tasks.Trainer`, which imports TensorFlow."""

    def work(self, wake: Callable[[], object]) -> None:
        """Train what is queued, for a while; `wake` sends the message that more is queued."""

    def stop(self) -> None:
        """Leave the current run after its next chunk, and claim no other."""

    def abandon(self) -> None:
        """Release the current run; the process ends at once."""


class TrainerProcess:
    """Trains when it is notified; when it is to stop, it has some seconds to leave its run to another process.

    `exit_process` ends the process at once, without waiting for its threads; a trainer that compiles cannot be
    interrupted otherwise.
    """

    def __init__(self, exit_process: Callable[[int], object] = os._exit) -> None:
        self._exit = exit_process
        self._trainer: Trains | None = None
        self._publish: Callable[[str], object]
        self._stopping = False

    def start(self, make_trainer: Callable[[], Trains], publish: Callable[[str], object]) -> None:
        """Make the trainer; if that fails, end the process, to which Celery would give work nevertheless.

        Args:
            make_trainer: Returns the trainer; takes some seconds.
            publish: Sends the message that this experiment, and perhaps others, are queued.
        """
        self._publish = publish
        try:
            self._trainer = make_trainer()
        except Exception:
            logger.exception("this training process cannot start")
            self._exit(1)
            return
        if self._stopping:  # requested by a signal meanwhile
            self._trainer.stop()

    def notify(self, experiment_id: str) -> None:
        """Train what is queued, of which this message tells; if more is queued after a while, send it again."""
        if self._trainer is not None:
            self._trainer.work(partial(self._publish, experiment_id))

    def stop(self, within_s: float) -> None:
        """Leave the current run after its next chunk; end the process after `within_s` if it still runs then."""
        self._stopping = True
        if self._trainer is not None:
            self._trainer.stop()
        timer = threading.Timer(within_s, self.end)
        timer.daemon = True
        timer.start()

    def end(self) -> None:
        """Release the current run, which another process continues from its last checkpoint, and end this process."""
        if self._trainer is not None:
            with contextlib.suppress(StoreUnavailable):
                self._trainer.abandon()
        self._exit(0)


def make_trainer(settings: Settings) -> Trains:
    """Import and configure TensorFlow, and return a trainer that sends heartbeats and prepares the presets."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    # XLA compiles a program in two thirds of the time if it generates code in 4 parts instead of 32.
    os.environ.setdefault("XLA_FLAGS", "--xla_cpu_parallel_codegen_split_count=4")
    if settings.worker.program_cache is not None:
        os.environ.setdefault("TF_XLA_FLAGS", program_cache.flags_for(settings.worker.program_cache))
    from worker import tasks  # imports TensorFlow: seven seconds or more
    from worker.training import device

    found = device.configure(settings.worker.trainer_threads)
    tasks.warm_up()
    os.nice(settings.worker.trainer_niceness)
    client, name, lease_s = connect(settings.redis), process_name(), settings.leases.lease_s
    store, attempts = Experiments(client), Attempts(client, lease_s)
    every_s = settings.worker.checkpoint_s
    trainer = tasks.Trainer(name, store, attempts, Datasets(client), found, checkpoint_every_s=every_s)
    threading.Thread(target=heartbeat, args=(store, name, trainer.hold, lease_s), daemon=True).start()
    threading.Thread(target=trainer.prepare_presets, daemon=True).start()
    return trainer
