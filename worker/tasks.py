"""The work of a training process: claim a queued run, train it, record it, and repeat while runs are queued."""

import contextlib
import gc
import logging
import threading
import time
from collections.abc import Callable
from functools import partial

import numpy as np
import tensorflow as tf

from service.contract.data_shape import shape_of
from service.contract.data_spec import UploadData
from service.contract.errors import DamagedRecord, StaleAttempt
from service.contract.plan import Plan, plan
from service.contract.record import ExperimentRecord, Outcome, Status, Timing
from service.contract.spec import ExperimentSpec
from service.store.attempts import Attempts, Claim
from service.store.datasets import Datasets
from service.store.experiments import Experiments
from worker.reporting import Reporter
from worker.training.checkpoint import FORMAT, TrainingCheckpoint
from worker.training.data import Data, load
from worker.training.engine import TrainingRun
from worker.training.keras_session import KerasSession
from worker.training.programs import Programs

SLICE_S = 5.0  # for one message, runs are claimed for this long; a stopping worker waits for the last of them
POLL_S = 0.2  # if another trainer is expected to claim all queued runs
PRESETS = ("baseline", "improved")
PREPARE_AFTER_S = 2.0  # without a run
CHECKPOINT_EVERY_S = 5.0

logger = logging.getLogger(__name__)


class Trainer:
    """Trains queued runs one after another and keeps the programs that it has compiled.

    `name` identifies the trainer in records; `device` is the device that they show.
    """

    def __init__(
        self,
        name: str,
        store: Experiments,
        attempts: Attempts,
        datasets: Datasets,
        device: str,
        programs: Programs | None = None,
        checkpoint_every_s: float = CHECKPOINT_EVERY_S,
    ) -> None:
        self._name = name
        self._store = store
        self._attempts = attempts
        self._datasets = datasets
        self._device = device
        self._programs = Programs() if programs is None else programs
        self._checkpoint_every_s = checkpoint_every_s
        self._idle = threading.Event()
        self._idle.set()
        self._stopping = threading.Event()
        self._claimed: Claim | None = None

    @property
    def is_busy(self) -> bool:
        """Whether it claims or trains a run."""
        return not self._idle.is_set()

    def work(self, wake: Callable[[], object]) -> None:
        """Train queued runs for SLICE_S; then, if more are queued, send another message by calling `wake`."""
        self._idle.clear()
        try:
            until = time.monotonic() + SLICE_S
            while not self._stopping.is_set():
                self._claimed = self._claim()
                if self._claimed is None:
                    break
                self._train(self._claimed)
                if time.monotonic() > until:
                    break
            if self._attempts.any_queued():
                if self._claimed is None:
                    time.sleep(POLL_S)
                wake()
        finally:
            self._claimed = None
            self._idle.set()

    def prepare_presets(self) -> None:
        """Compile both presets, each after the trainer has been idle for PREPARE_AFTER_S."""
        for preset in PRESETS:
            self._wait_until_idle()
            planned = _plan_of({"model": preset})
            with self._programs.session.exclusive():
                if not self._programs.has(planned) and self._programs.has_capacity_for(planned):
                    self._compile_ahead(planned)

    def _compile_ahead(self, planned: Plan) -> None:
        try:
            TrainingRun(planned, load(planned), self._programs.program_for(planned)).compile()
        except Exception:
            logger.exception("a preset cannot be compiled ahead of its use")
            self._programs.forget(planned)

    def _wait_until_idle(self) -> None:
        """Wait for a pause of PREPARE_AFTER_S; a new trainer may be needed at once, for the run of one that died."""
        while True:
            self._idle.wait()
            time.sleep(PREPARE_AFTER_S)
            if not self.is_busy:
                return

    def hold(self) -> None:
        """Renew the lease of the current run, if there is one: compiling a large network takes longer than a lease."""
        if (claim := self._claimed) is not None:
            with contextlib.suppress(StaleAttempt):  # the next write raises it too, and ends the run here
                self._attempts.prolong(claim)

    def stop(self) -> None:
        """Release the current run after its next chunk, and claim no other."""
        self._stopping.set()

    def abandon(self) -> None:
        """Release the current run as of its last checkpoint; for a process that ends at once."""
        if (claim := self._claimed) is not None:
            self._attempts.release(claim)

    def _claim(self) -> Claim | None:
        return self._attempts.claim_next(self._device, self._name, self._programs.architectures, FORMAT)

    def _train(self, claim: Claim) -> None:
        try:
            record, kept = self._store.get(claim.experiment_id), self._attempts.kept_state(claim)
        except DamagedRecord as error:
            logger.error("attempt %d cannot begin: %s", claim.attempt, error)
            with contextlib.suppress(StaleAttempt):
                ended = Status.FAILED, Outcome(), Timing(), str(error)
                self._attempts.finish(claim.experiment_id, claim.attempt, *ended)
            return
        written = {} if kept is None else kept.bytes_written
        logger.info(
            "experiment %s: attempt %d begins at step %d", claim.experiment_id, claim.attempt, record.progress.step
        )
        report = Reporter(self._attempts, claim, record, written, self._checkpoint_every_s)
        planned: Plan | None = None
        try:
            with report.timed("prepare_s"):
                planned = plan(record.spec, record.shape)
                data = report.until_stored(partial(_data, planned, record, self._datasets))
                checkpoint = None if kept is None else TrainingCheckpoint.unpacked(kept.state)
                run = TrainingRun(planned, data, self._programs.program_for(planned), checkpoint=checkpoint)
            with report.timed("compile_s"):
                run.compile()
            with report.timed("train_s"):
                for chunk in run.chunks():
                    report.write(chunk, lambda: run.checkpoint().packed())
                    if report.cancelled or (self._stopping.is_set() and not run.has_ended):
                        break  # no break after the last chunk: the loop then restores the best weights
            if self._stopping.is_set() and not (report.cancelled or run.has_ended):
                report.release(lambda: run.checkpoint().packed())
                return
            if record.spec.recording.keep_model:
                report.keep_model(run.trained_model_file())
            report.finish(Status.CANCELLED if report.cancelled else Status.SUCCEEDED)
        except StaleAttempt as error:
            logger.warning("%s; this trainer no longer works on it", error)
        except Exception as error:
            logger.exception("experiment %s failed", claim.experiment_id)
            if planned is not None:
                self._programs.forget(planned)
            with contextlib.suppress(StaleAttempt):
                report.finish(Status.FAILED, _message_of(error))


def warm_up() -> None:
    """Train a tiny network, so that TensorFlow and Keras load before the first run what they load at first use."""
    planned = _plan_of({"model": {"kind": "baseline", "depth": 1, "width": 2}, "training": {"epochs": 1}})
    run = TrainingRun(planned, load(planned))
    run.compile()
    for _ in run.chunks():
        pass
    KerasSession().clear()
    gc.freeze()  # TensorFlow's own objects never become garbage; without them a collection is ten times faster


def _plan_of(spec: dict[str, object]) -> Plan:
    resolved = ExperimentSpec.model_validate(spec).resolved()
    return plan(resolved, shape_of(resolved.data))


def _data(planned: Plan, record: ExperimentRecord, datasets: Datasets) -> Data:
    data = record.spec.data
    if not isinstance(data, UploadData):
        return load(planned)
    stored = datasets.open(data.dataset_id)
    described = stored.dataset.description
    x, y = stored.arrays()
    labels = np.frombuffer(y, described.y_format)
    return load(planned, (np.frombuffer(x, described.x_format).reshape(record.shape.samples, -1), labels))


def _message_of(error: Exception) -> str:
    """The error as the record of a failed run shows it."""
    if isinstance(error, tf.errors.ResourceExhaustedError | MemoryError):
        return "the training process ran out of memory: try a smaller network, batch or data set"
    first_line = str(error).strip().partition("\n")[0]
    return f"{type(error).__name__}: {first_line}"
