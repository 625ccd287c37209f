"""The training loop: epochs of chunks of compiled steps, each step with every variable's gradient norm.

run = TrainingRun(plan, data)
run.compile()
for chunk in run.chunks():
    ...
"""

import math
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import keras
import numpy as np
import numpy.typing as npt
import tensorflow as tf

from service.contract.plan import Plan
from service.contract.recording_spec import Statistic
from worker.training.checkpoint import Checkpoint, Position
from worker.training.data import Data
from worker.training.first_batch import FirstBatch, first_batch_of
from worker.training.initial import Initial, initial_values, model_with, noise_seeds
from worker.training.optimizers import optimizer_for
from worker.training.program import Feed, Program, State, Steps, pays_xla
from worker.training.schedules import Schedule
from worker.training.seeds import Stream, generator
from worker.training.stopping import EarlyStop

CHUNK_SECONDS = 0.4  # aimed at; a chunk may last a second at most
GROWTH = 8  # a chunk has at most this many times the steps of the one before
EVALUATION_ROWS = 1024
EVALUATION_VALUES = 2**26  # of the forward pass of one evaluated batch

Floats = npt.NDArray[np.floating]


@dataclass(frozen=True)
class Chunk:
    """Consecutive steps of a run."""

    start: int
    step_loss: Floats  # [steps]
    recorded: Mapping[Statistic, Floats]  # each [recorded steps, variables or activations]
    epoch_metrics: Mapping[str, float] | None = None  # of the epoch that ends with this chunk, as Keras computes them
    diverged_at_step: int | None = None  # the first of the chunk whose loss or gradient is not finite
    stopped_early: bool = False
    first_batch: FirstBatch | None = None  # of step 0, where it is kept

    @property
    def stop(self) -> int:
        """The step after the last."""
        return self.start + len(self.step_loss)


class TrainingRun:
    """One training run of a plan; deterministic, whichever way its steps fall into chunks.

    `program` is that of another run of the same architecture, if there is one; the result is the same without.
    With a checkpoint of the same plan it goes on behind that, to the same bytes.
    """

    def __init__(
        self,
        plan: Plan,
        data: Data,
        program: Program | None = None,
        *,
        initial: Initial | None = None,
        checkpoint: Checkpoint | None = None,
    ) -> None:
        self._plan = plan
        self._training = plan.spec.training
        self._work = plan.work
        self._batch_size = plan.batch_size
        self._data = data
        self.program = Program(plan, xla=pays_xla(plan)) if program is None else program
        places = self.program.network.places
        optimizer = optimizer_for(self._training.optimizer)
        stopping = self._training.early_stopping
        self._stopping = EarlyStop(stopping) if stopping else None
        self._best: State | None = None
        self._at = Position()
        if checkpoint is None:
            self.state: State = self.program.state(initial or initial_values(plan, places), optimizer)
        else:
            self._go_on_from(checkpoint)
        self._schedule = Schedule(self._training.learning_rate_schedule, self._training.optimizer.learning_rate)
        self._hyperparameters = tf.constant([*optimizer.hyperparameters(), *self._decay_and_threshold], tf.float64)
        self._noise = tf.constant(noise_seeds(plan, places))
        self._x, self._y = tf.constant(data.x_train), tf.constant(data.y_train)
        self._x_validation, self._y_validation = tf.constant(data.x_validation), tf.constant(data.y_validation)

    def compile(self) -> None:
        """Trace and compile everything that the run will need; makes no step, and does nothing with a used program."""
        if self.program.is_compiled:
            return
        rows, batch_size = len(self._data.x_train), self._batch_size
        order = tf.range(rows)
        firsts = ([0] if rows >= batch_size else []) + ([rows // batch_size] if rows % batch_size else [])
        for batch in firsts:
            self.program.run(self.state, self._feed(order, batch, 0, 0))
        self._validation(self.state)
        self.program.is_compiled = True

    def chunks(self) -> Iterator[Chunk]:
        """Train, chunk by chunk; ends early where loss or gradient stop being finite, or by early stopping."""
        size, at = 1, self._at
        while not self.has_ended:
            order = self._order(at.epoch)
            epoch_ended = False
            while not epoch_ended:
                count = self._steps_together(at.batch, size)
                first_batch = self._first_batch(order) if at.step == 0 else None
                began = time.perf_counter()
                steps = self.program.run(self.state, self._feed(order, at.batch, count, at.step))
                made = int(steps.count)
                seconds = time.perf_counter() - began
                self.state = steps.state
                size = max(1, min(size * GROWTH, math.floor(CHUNK_SECONDS * made / seconds), self.program.capacity))
                chunk, epoch_ended = self._after(steps, made, first_batch)
                yield chunk
        if self._best is not None and self._restores_best:
            self.state = self._best

    @property
    def has_ended(self) -> bool:
        """Whether no step follows."""
        return self._at.ended or self._at.epoch == self._training.epochs

    def checkpoint(self) -> Checkpoint:
        """All that another process needs to go on behind the last chunk."""
        seen = self._stopping.seen if self._stopping else None
        return Checkpoint(self._at, self.state, seen, self._best if self._restores_best else None)

    def trained_model(self) -> keras.Model:
        """The network with the weights that training has left."""
        return model_with(self._plan, self.program.variables(self.state))

    # ---------------------------------------------------------------- within

    def _go_on_from(self, checkpoint: Checkpoint) -> None:
        self._at, self.state, self._best = checkpoint.position, checkpoint.state, checkpoint.best
        if self._stopping is not None and checkpoint.seen is not None:
            self._stopping.seen = checkpoint.seen

    def _first_batch(self, order: tf.Tensor) -> FirstBatch | None:
        """Of the network as initialized; None where it is not kept."""
        if not self._plan.first_batch_bytes:
            return None
        rows = order[: self._batch_size].numpy()
        batch = self._data.x_train[rows], self._data.y_train[rows]
        values = self.program.variables(self.state).trainable
        return first_batch_of(self._plan, values, self._noise.numpy(), *batch, xla=self.program.uses_xla)

    def _after(self, steps: Steps, made: int, first_batch: FirstBatch | None) -> tuple[Chunk, bool]:
        """The chunk that these steps are, and whether an epoch ends with it; moves on behind them."""
        at, start = self._at, self._at.step
        loss = np.asarray(steps.loss)[:made]
        at.losses.append(loss)
        at.metrics.append(np.asarray(steps.metrics)[:made])
        at.step, at.batch = start + made, at.batch + made
        broken = np.flatnonzero(np.asarray(steps.finite)[:made] == 0)
        at.ended = self._training.stop_on_divergence and len(broken) > 0
        epoch_ended = at.ended or at.batch == self._work.steps_per_epoch
        metrics, stops = None, False
        if epoch_ended:
            metrics = self._epoch_metrics(np.concatenate(at.losses), np.concatenate(at.metrics))
            stops = not at.ended and self._stops_early(at.epoch, metrics)
            at.ended |= stops
            at.epoch, at.batch, at.losses, at.metrics = at.epoch + 1, 0, [], []
        first_broken = start + int(broken[0]) if len(broken) else None
        recorded = self.program.recorded(steps)
        return Chunk(start, loss, recorded, metrics, first_broken, stops, first_batch), epoch_ended

    def _stops_early(self, epoch: int, metrics: Mapping[str, float]) -> bool:
        if self._stopping is None:
            return False
        verdict = self._stopping.after(epoch, metrics)
        if verdict.best:
            self._best = self.state
        return verdict.stop and epoch + 1 < self._training.epochs

    @property
    def _decay_and_threshold(self) -> tuple[float, float]:
        """Weight decay and clipping threshold, 0 where there is none."""
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

    def _epoch_metrics(self, losses: Floats, metrics: Floats) -> dict[str, float]:
        """Figures of an epoch: training ones over the rows that it has seen, validation ones after it."""
        batch_size, rows = self._batch_size, len(self._data.x_train)
        sizes = np.minimum(batch_size, rows - batch_size * np.arange(len(losses)))
        seen = np.sum(sizes)
        with np.errstate(invalid="ignore", over="ignore"):
            sums = np.sum(metrics, axis=0, dtype=np.float64)
            training = [float(np.sum(losses * sizes, dtype=np.float64) / seen), *(sums / seen)]
        values = [*training, *self._validation(self.state)]
        return dict(zip(self._plan.objective.epoch_metrics, map(float, values), strict=True))

    def _validation(self, state: State) -> npt.NDArray[np.float64]:
        """Means over the validation rows of the loss and of each metric; NaN where there are none."""
        rows, figures = len(self._data.x_validation), 1 + len(self._plan.objective.metrics)
        if rows == 0:
            return np.full(figures, math.nan)
        sums = np.zeros(figures)
        together = max(1, min(EVALUATION_ROWS, EVALUATION_VALUES // self._plan.values_a_row))
        for start in range(0, rows, together):
            part = slice(start, start + together)
            sums += self.program.evaluate(state, self._x_validation[part], self._y_validation[part])
        return sums / rows
