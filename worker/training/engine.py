"""The training loop: epochs of chunks of compiled steps, each step with the gradient norm of every variable.

run = TrainingRun(plan, load(plan))
run.compile()
for chunk in run.chunks():
    ...
"""

import math
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

import keras
import numpy as np
import numpy.typing as npt
import tensorflow as tf

from service.contract.plan import Plan
from service.contract.recording_spec import Statistic
from worker.training.checkpoint import Position, TrainingCheckpoint
from worker.training.data import Data
from worker.training.early_stopping import EarlyStop
from worker.training.first_batch import RecordedFirstBatch, first_batch_of
from worker.training.initial_values import InitialValues, initial_values, noise_seeds
from worker.training.keras_model import model_with
from worker.training.keras_session import KerasSession
from worker.training.optimizers import optimizer_for
from worker.training.program import Feed, Program, StepResults, TrainingState, worth_xla
from worker.training.schedules import Schedule
from worker.training.seeds import Stream, generator

CHUNK_SECONDS = 0.4  # target; a chunk should take less than a second
MAX_GROWTH = 8  # maximum ratio of the steps of a chunk to those of the chunk before it
EVALUATION_SAMPLES = 1024  # per evaluated batch, at most
EVALUATION_VALUES = 2**26  # of the forward pass of one evaluated batch, at most

Floats = npt.NDArray[np.floating]


@dataclass(frozen=True)
class Chunk:
    """Consecutive steps of a run, in the precision of the plan."""

    start: int  # number of the first step, counted from 0
    step_loss: Floats  # [steps]
    recorded: Mapping[Statistic, Floats]  # each [recorded steps, variables or activations]
    epoch_metrics: Mapping[str, float] | None = None  # as Keras computes them, if an epoch ends with this chunk
    diverged_at_step: int | None = None  # the first step of the chunk whose loss or gradient is not finite
    stopped_early: bool = False
    first_batch: RecordedFirstBatch | None = None  # with step 0, if the plan keeps it

    @property
    def stop(self) -> int:
        """Number of the step after the last one."""
        return self.start + len(self.step_loss)


class TrainingRun:
    """One training run of a plan.

    A run is deterministic: equal plans and data give equal bytes on the same kind of device, however the steps fall
    into chunks.

    Args:
        plan: What to train.
        data: The samples of the plan.
        program: The program of the plan's architecture, perhaps compiled by an earlier run. By default, the run creates
            one. The result is the same.
        initial: Initial values of the variables; by default, those that the plan's seed draws.
        checkpoint: Where to continue an earlier run of the same plan. The continued run gives the same bytes.

    Attributes:
        program: The program of the run.
        state: The state after the last chunk; after the end of `chunks`, with the restored best weights if early
            stopping restores them.
    """

    def __init__(
        self,
        plan: Plan,
        data: Data,
        program: Program | None = None,
        *,
        initial: InitialValues | None = None,
        checkpoint: TrainingCheckpoint | None = None,
    ) -> None:
        self._plan = plan
        self._training = plan.spec.training
        self._work = plan.work
        self._batch_size = plan.batch_size
        self._data = data
        self.program = Program(plan, KerasSession(), xla=worth_xla(plan)) if program is None else program
        slots = self.program.network.slots
        optimizer = optimizer_for(self._training.optimizer)
        stopping = self._training.early_stopping
        self._early_stop = EarlyStop(stopping) if stopping else None
        self._best: TrainingState | None = None
        self._position = Position()
        if checkpoint is None:
            initial = initial or initial_values(plan, slots, self.program.session)
            self.state: TrainingState = self.program.state(initial, optimizer)
        else:
            self._continue_from(checkpoint)
        self._schedule = Schedule(self._training.learning_rate_schedule, self._training.optimizer.learning_rate)
        self._hyperparameters = tf.constant([*optimizer.hyperparameters(), *self._decay_and_threshold], tf.float64)
        self._noise = tf.constant(noise_seeds(plan, slots))
        self._x, self._y = tf.constant(data.x_train), tf.constant(data.y_train)
        self._x_validation, self._y_validation = tf.constant(data.x_validation), tf.constant(data.y_validation)

    def compile(self) -> None:
        """Trace and compile everything that the run needs, without training; does nothing with a compiled program."""
        if self.program.is_compiled:
            return
        samples, batch_size = len(self._data.x_train), self._batch_size
        order = tf.range(samples)
        whole = [0] if samples >= batch_size else []
        smaller_last = [samples // batch_size] if samples % batch_size else []
        for batch in whole + smaller_last:
            self.program.run(self.state, self._feed(order, batch, 0, 0))
        self._validation(self.state)
        self.program.is_compiled = True

    def chunks(self) -> Iterator[Chunk]:
        """Train, and yield each chunk after its last step; mutates `state`.

        Training ends after the last epoch, at a loss or gradient that is not finite (unless the plan continues there),
        or by early stopping. If a caller stops iterating, `checkpoint` describes the run after the last chunk.
        """
        size = 1
        while not self.has_ended:
            order = self._order(self._position.epoch)
            epoch_ended = False
            while not epoch_ended:
                at = self._position
                count = self._steps_together(at.batch, size)
                first_batch = self._first_batch(order) if at.step == 0 else None
                began = time.perf_counter()
                results = self.program.run(self.state, self._feed(order, at.batch, count, at.step))
                done = int(results.count)
                seconds = time.perf_counter() - began
                self.state = results.state
                target = math.floor(CHUNK_SECONDS * done / seconds)
                size = max(1, min(size * MAX_GROWTH, target, self.program.capacity))
                chunk, epoch_ended = self._advance(results, done, first_batch)
                yield chunk
        if self._best is not None and self._restores_best:
            self.state = self._best

    @property
    def has_ended(self) -> bool:
        """Whether no step follows."""
        return self._position.ended or self._position.epoch == self._training.epochs

    def checkpoint(self) -> TrainingCheckpoint:
        """Return everything that another process needs to continue after the last chunk."""
        stopping = self._early_stop.state if self._early_stop else None
        return TrainingCheckpoint(self._position, self.state, stopping, self._best if self._restores_best else None)

    def trained_model(self) -> keras.Model:
        """Return the network as a new Keras model with the weights of `state`."""
        return model_with(self._plan, self.program.variables(self.state), self.program.session)

    def trained_model_file(self) -> bytes:
        """Return the network with the weights of `state` in Keras's `.keras` format."""
        with self.program.session.exclusive() as layers:
            return layers.keras_file(self.trained_model())

    # ---------------------------------------------------------------- within

    def _continue_from(self, checkpoint: TrainingCheckpoint) -> None:
        self._position, self.state, self._best = checkpoint.position, checkpoint.state, checkpoint.best
        if self._early_stop is not None and checkpoint.early_stopping is not None:
            self._early_stop.state = checkpoint.early_stopping

    def _first_batch(self, order: tf.Tensor) -> RecordedFirstBatch | None:
        """Return the first batch with the errors of the untrained network; None if the plan does not keep it."""
        if not self._plan.first_batch_bytes:
            return None
        samples = order[: self._batch_size].numpy()
        batch = self._data.x_train[samples], self._data.y_train[samples]
        values = self.program.variables(self.state).trainable
        return first_batch_of(self._plan, values, self._noise.numpy(), *batch, xla=self.program.uses_xla)

    def _advance(self, results: StepResults, done: int, first_batch: RecordedFirstBatch | None) -> tuple[Chunk, bool]:
        """Move the position after these steps; return them as a chunk, and whether an epoch ends with it."""
        at = self._position
        loss = np.asarray(results.loss)[:done]
        losses, metrics = (*at.losses, loss), (*at.metrics, np.asarray(results.metrics)[:done])
        broken = np.flatnonzero(np.asarray(results.finite)[:done] == 0)
        diverged = self._training.stop_on_divergence and len(broken) > 0
        batch = at.batch + done
        epoch_ended = diverged or batch == self._work.steps_per_epoch
        epoch_metrics, stops = None, False
        if epoch_ended:
            epoch_metrics = self._epoch_metrics(np.concatenate(losses), np.concatenate(metrics))
            stops = not diverged and self._stops_early(at.epoch, epoch_metrics)
            self._position = Position(at.epoch + 1, 0, at.step + done, ended=diverged or stops)
        else:
            self._position = replace(at, batch=batch, step=at.step + done, losses=losses, metrics=metrics)
        first_broken = at.step + int(broken[0]) if len(broken) else None
        recorded = self.program.recorded(results)
        return Chunk(at.step, loss, recorded, epoch_metrics, first_broken, stops, first_batch), epoch_ended

    def _stops_early(self, epoch: int, metrics: Mapping[str, float]) -> bool:
        if self._early_stop is None:
            return False
        verdict = self._early_stop.after(epoch, metrics)
        if verdict.best:
            self._best = self.state
        return verdict.stop and epoch + 1 < self._training.epochs

    @property
    def _decay_and_threshold(self) -> tuple[float, float]:
        """Weight decay and clipping threshold; 0 if the plan has none."""
        clipping = self._training.gradient_clipping
        return self._training.optimizer.weight_decay or 0.0, clipping.threshold if clipping else 0.0

    @property
    def _restores_best(self) -> bool:
        stopping = self._training.early_stopping
        return stopping is not None and stopping.restore_best_weights

    def _feed(self, order: tf.Tensor, batch: int, count: int, step: int) -> Feed:
        rates = np.zeros(self.program.capacity)
        rates[:count] = self._schedule.rates(step, count)
        return Feed(
            self._x,
            self._y,
            order,
            tf.constant(batch),
            tf.constant(count),
            tf.constant(rates, tf.float64),
            self._hyperparameters,
            self._noise,
        )

    def _steps_together(self, batch: int, size: int) -> int:
        """Return how many steps the next chunk has: up to `size` whole batches, or the smaller last batch alone."""
        whole = len(self._data.x_train) // self._batch_size
        return max(1, min(size, whole - batch))

    def _order(self, epoch: int) -> tf.Tensor:
        """Return the order of the training samples in an epoch, int32 [samples].

        Each epoch has a random generator of its own, so that a run can continue in any epoch.
        """
        samples = len(self._data.x_train)
        if not self._training.shuffle:
            return tf.range(samples)
        random = generator(self._training.seed, Stream.ORDER, epoch)
        return tf.constant(random.permutation(samples).astype(np.int32))

    def _epoch_metrics(self, losses: Floats, metrics: Floats) -> dict[str, float]:
        """Compute the metrics of an epoch: training metrics over the samples so far, validation metrics after them."""
        batch_size, samples = self._batch_size, len(self._data.x_train)
        sizes = np.minimum(batch_size, samples - batch_size * np.arange(len(losses)))
        trained = np.sum(sizes)
        with np.errstate(invalid="ignore", over="ignore"):
            sums = np.sum(metrics, axis=0, dtype=np.float64)
            training = [float(np.sum(losses * sizes, dtype=np.float64) / trained), *(sums / trained)]
        values = [*training, *self._validation(self.state)]
        return dict(zip(self._plan.objective.epoch_metrics, map(float, values), strict=True))

    def _validation(self, state: TrainingState) -> npt.NDArray[np.float64]:
        """Average the loss and each metric over the validation samples; NaN if there are none."""
        samples, columns = len(self._data.x_validation), 1 + len(self._plan.objective.metrics)
        if samples == 0:
            return np.full(columns, math.nan)
        sums = np.zeros(columns)
        together = max(1, min(EVALUATION_SAMPLES, EVALUATION_VALUES // self._plan.values_per_sample))
        for start in range(0, samples, together):
            part = slice(start, start + together)
            sums += self.program.evaluate(state, self._x_validation[part], self._y_validation[part])
        return sums / samples
