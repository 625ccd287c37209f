"""What a training process does when it is woken: claim, train, record, and again while there is something to do."""

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

SLICE_S = 5.0  # runs that are taken for one message begin within this time: a worker that is to stop waits for them
LOOK_AGAIN_S = 0.2  # where all that is queued is best left to another trainer
PRESETS = ("baseline", "improved")
PREPARE_AFTER_S = 2.0  # of rest
CHECKPOINT_EVERY_S = 5.0

logger = logging.getLogger(__name__)


class Trainer:
    """A training process, with the programs that it has compiled."""

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
        self._at: Claim | None = None

    @property
    def is_busy(self) -> bool:
        """Whether it looks for work or is at it."""
        return not self._idle.is_set()

    def work(self, wake: Callable[[], object]) -> None:
        """Train what is queued, for a while; `wake` sends the message that more is left."""
        self._idle.clear()
        try:
            until = time.monotonic() + SLICE_S
            while not self._stopping.is_set():
                self._at = self._claim()
                if self._at is None:
                    break
                self._train(self._at)
                if time.monotonic() > until:
                    break
            if self._attempts.any_queued():
                if self._at is None:
                    time.sleep(LOOK_AGAIN_S)
                wake()
        finally:
            self._at = None
            self._idle.set()

    def prepare_presets(self) -> None:
        """Compile both presets, each when there has been nothing else to do for a while."""
        for preset in PRESETS:
            self._wait_for_rest()
            planned = _plan_of({"model": preset})
            with self._programs.session.exclusive():  # a run that is queued meanwhile goes to another trainer
                if not self._programs.has(planned) and self._programs.has_capacity_for(planned):
                    self._compile_ahead(planned)

    def _compile_ahead(self, planned: Plan) -> None:
        try:
            TrainingRun(planned, load(planned), self._programs.program_for(planned)).compile()
        except Exception:
            logger.exception("nothing was compiled ahead")
            self._programs.forget(planned)

    def _wait_for_rest(self) -> None:
        """A trainer that replaces one that died is wanted at once."""
        while True:
            self._idle.wait()
            time.sleep(PREPARE_AFTER_S)
            if not self.is_busy:
                return

    def hold(self) -> None:
        """Prolong the lease of the run that it is at, if any: compiling a large network takes longer than a lease."""
        if (claim := self._at) is not None:
            with contextlib.suppress(StaleAttempt):  # its next write hears so too, and leaves
                self._attempts.hold(claim)

    def stop(self) -> None:
        """Leave the run that it is at to another after the chunk that it is making, and take nothing more."""
        self._stopping.set()

    def abandon(self) -> None:
        """Leave the run that it is at to another, from its last checkpoint; for a process that ends this moment."""
        if (claim := self._at) is not None:
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
                        break  # and not behind the last chunk, where the best weights are yet to be restored
            if self._stopping.is_set() and not (report.cancelled or run.has_ended):
                report.release(lambda: run.checkpoint().packed())
                return
            if record.spec.recording.keep_model:
                report.keep_model(run.trained_model_file())
            report.finish(Status.CANCELLED if report.cancelled else Status.SUCCEEDED)
        except StaleAttempt as error:
            logger.warning("%s; leaving it", error)
        except Exception as error:
            logger.exception("experiment %s failed", claim.experiment_id)
            if planned is not None:
                self._programs.forget(planned)
            with contextlib.suppress(StaleAttempt):
                report.finish(Status.FAILED, _in_words(error))


def warm_up() -> None:
    """Run a tiny experiment: what TensorFlow and Keras load at first use is then loaded before the first job."""
    planned = _plan_of({"model": {"kind": "baseline", "depth": 1, "width": 2}, "training": {"epochs": 1}})
    run = TrainingRun(planned, load(planned))
    run.compile()
    for _ in run.chunks():
        pass
    KerasSession().clear()
    gc.freeze()  # TensorFlow's own objects stay for ever: not walking them makes each collection ten times faster


def _plan_of(spec: dict[str, object]) -> Plan:
    resolved = ExperimentSpec.model_validate(spec).resolved()
    return plan(resolved, shape_of(resolved.data))


def _data(planned: Plan, record: ExperimentRecord, datasets: Datasets) -> Data:
    data = record.spec.data
    if not isinstance(data, UploadData):
        return load(planned)
    described = datasets.get(data.dataset_id).description
    x, y = datasets.arrays(data.dataset_id)
    labels = np.frombuffer(y, described.y_format)
    return load(planned, (np.frombuffer(x, described.x_format).reshape(record.shape.samples, -1), labels))


def _in_words(error: Exception) -> str:
    if isinstance(error, tf.errors.ResourceExhaustedError | MemoryError):
        return "the training process ran out of memory: try a smaller network, batch or data set"
    first_line = str(error).strip().partition("\n")[0]
    return f"{type(error).__name__}: {first_line}"
