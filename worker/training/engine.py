"""The training loop: epochs of chunks of compiled steps, each step with every variable's gradient norm.

run = TrainingRun(spec, data)
run.compile()
for chunk in run.chunks():
    ...
"""

import math
import time
from collections.abc import Iterator
from dataclasses import dataclass

import keras
import numpy as np
import numpy.typing as npt
import tensorflow as tf

from service.contract.spec import ExperimentSpec
from service.contract.workload import workload
from worker.training.data import Data
from worker.training.models import build
from worker.training.optimizers import optimizer_for
from worker.training.program import Program, State, Steps
from worker.training.seeds import Stream, generator

CHUNK_SECONDS = 0.4  # aimed at; a chunk may last a second at most
GROWTH = 8  # a chunk has at most this many times the steps of the one before
XLA_FROM_STEPS = 2_500  # XLA saves 0.3 to 0.9 ms a step of the presets on a CPU and costs 0.8 to 2.2 s to compile
EVALUATION_ROWS = 1024


@dataclass(frozen=True)
class EpochMetrics:
    """Figures of an epoch, as Keras computes them: training ones run along, validation ones come after it."""

    loss: float
    accuracy: float
    val_loss: float
    val_accuracy: float


@dataclass(frozen=True)
class Chunk:
    """Consecutive steps of a run."""

    start: int
    gradient_norm: npt.NDArray[np.floating]  # [steps, variables]
    step_loss: npt.NDArray[np.floating]  # [steps]
    epoch_metrics: EpochMetrics | None  # of the epoch that ends with this chunk
    diverged_at_step: int | None = None

    @property
    def stop(self) -> int:
        """The step after the last."""
        return self.start + len(self.step_loss)


class TrainingRun:
    """One training run of a resolved spec; deterministic, whichever way its steps fall into chunks.

    `xla` is chosen by the number of steps unless given, never by the clock, so that one spec gives the same bytes.
    """

    def __init__(
        self,
        spec: ExperimentSpec,
        data: Data,
        *,
        dtype: str = "float32",
        record: bool = True,
        xla: bool | None = None,
        model: keras.Model | None = None,
    ) -> None:
        self._training = spec.training
        self._work = workload(spec)
        self._batch_size = min(spec.training.batch_size, self._work.train_rows)  # a batch holds no more than there is
        self._data = data
        model = model if model is not None else build(spec.model, data.shape, spec.training.seed, dtype)
        optimizer = optimizer_for(spec.training.optimizer)
        self.program = Program(
            model,
            optimizer,
            batch_size=self._batch_size,
            steps_per_epoch=self._work.steps_per_epoch,
            record=record,
            xla=self._work.total_steps >= XLA_FROM_STEPS if xla is None else xla,
        )
        self.state: State = self.program.initial_state()
        self._hyperparameters = tf.constant(optimizer.hyperparameters())
        self._x, self._y = tf.constant(data.x_train), tf.constant(data.y_train)
        self._x_validation, self._y_validation = (
            tf.constant(data.x_validation),
            tf.constant(data.y_validation),
        )

    def compile(self) -> None:
        """Trace and compile everything that the run will need; makes no step."""
        rows, batch_size = len(self._data.x_train), self._batch_size
        kinds = ([True] if rows >= batch_size else []) + ([False] if rows % batch_size else [])
        for whole_batches in kinds:
            order = tf.range(rows)
            self.program.prepare(self.state, self._x, self._y, order, whole_batches, self._hyperparameters)
        self._validation(self.state)

    def chunks(self) -> Iterator[Chunk]:
        """Train, chunk by chunk; ends early where the loss stops being finite."""
        size = 1
        step = 0
        for epoch in range(self._training.epochs):
            order = self._order(epoch)
            losses: list[npt.NDArray[np.floating]] = []
            correct = 0.0
            batch = 0
            while batch < self._work.steps_per_epoch:
                count = self._steps_together(batch, size)
                began = time.perf_counter()
                steps = self.program.run(self.state, self._x, self._y, order, batch, count, self._hyperparameters)
                made = int(steps.count)
                seconds = time.perf_counter() - began
                self.state = steps.state
                batch += made
                losses.append(np.asarray(steps.loss)[:made])
                correct += float(np.sum(np.asarray(steps.correct, np.float64)[:made]))
                size = max(1, min(size * GROWTH, math.floor(CHUNK_SECONDS * made / seconds), self.program.capacity))
                diverged = not np.isfinite(losses[-1][-1])
                ended = diverged or batch == self._work.steps_per_epoch
                metrics = self._epoch_metrics(np.concatenate(losses), correct) if ended else None
                yield self._chunk(step, steps, made, metrics, diverged)
                step += made
                if diverged:
                    return

    # ---------------------------------------------------------------- within

    def _steps_together(self, batch: int, size: int) -> int:
        """Up to `size` steps, whole batches and the smaller last one apart."""
        whole = len(self._data.x_train) // self._batch_size
        return max(1, min(size, whole - batch))

    def _order(self, epoch: int) -> tf.Tensor:
        """Training rows in the order of this epoch, int32: a stream of its own, so that any epoch can be resumed."""
        rows = len(self._data.x_train)
        if not self._training.shuffle:
            return tf.range(rows)
        random = generator(self._training.seed, Stream.ORDER, epoch)
        return tf.constant(random.permutation(rows).astype(np.int32))

    def _epoch_metrics(self, losses: npt.NDArray[np.floating], correct: float) -> EpochMetrics:
        """Means over the rows that the epoch has seen."""
        batch_size, rows = self._batch_size, len(self._data.x_train)
        sizes = np.minimum(batch_size, rows - batch_size * np.arange(len(losses)))
        loss = float(np.sum(losses * sizes, dtype=np.float64) / np.sum(sizes))
        return EpochMetrics(loss, correct / float(np.sum(sizes)), *self._validation(self.state))

    def _validation(self, state: State) -> tuple[float, float]:
        """Mean loss and accuracy over the validation rows; NaN where there are none."""
        rows = len(self._data.x_validation)
        if rows == 0:
            return math.nan, math.nan
        sums = np.zeros(2)
        for start in range(0, rows, EVALUATION_ROWS):
            part = slice(start, start + EVALUATION_ROWS)
            sums += self.program.evaluate(state, self._x_validation[part], self._y_validation[part])
        return float(sums[0] / rows), float(sums[1] / rows)

    @staticmethod
    def _chunk(start: int, steps: Steps, made: int, metrics: EpochMetrics | None, diverged: bool) -> Chunk:
        return Chunk(
            start=start,
            gradient_norm=np.asarray(steps.gradient_norm)[:made],
            step_loss=np.asarray(steps.loss)[:made],
            epoch_metrics=metrics,
            diverged_at_step=start + made - 1 if diverged else None,
        )
