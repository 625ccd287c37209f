"""The compiled part of training: a chunk of steps, and the evaluation, as pure functions of tensors.

Data, order, seed and hyperparameters are arguments, so that one program can serve every run of an architecture.
"""

import math
from functools import partial
from typing import NamedTuple

import keras
import numpy as np
import numpy.typing as npt
import tensorflow as tf

from service.contract.plan import Plan
from service.contract.recording_spec import Statistic
from worker.training.clipping import clipped
from worker.training.layout import FlatLayout
from worker.training.losses import row_losses, row_metrics
from worker.training.models import build, seed_states, taps, variable_order
from worker.training.optimizers import optimizer_for
from worker.training.statistics import Moment, Seen, Statistics

MOST_STEPS_A_CALL = 2048
MOST_VALUES_A_CALL = 2_000_000
DRAWS_A_STEP = 1024  # of one noise layer at most: an LSTM draws four masks
NEVER = -1.0  # the step before the first

Floats = npt.NDArray[np.floating]


class State(NamedTuple):
    """Everything that a step changes."""

    weights: tf.Tensor  # [parameters]
    buffers: tf.Tensor  # [moving statistics of batch normalisation]
    slots: tuple[tf.Tensor, ...]  # each [parameters]
    step: tf.Tensor  # updates made so far, float64
    last_active: tf.Tensor  # [hidden units] where inactive units are recorded, else empty


class Feed(NamedTuple):
    """What a chunk of steps reads."""

    x: tf.Tensor  # [rows, …]
    y: tf.Tensor  # [rows, …]
    order: tf.Tensor  # rows in the order of this epoch, int32
    batch: tf.Tensor  # number of the first batch
    count: tf.Tensor  # steps to make
    rates: tf.Tensor  # [capacity], the learning rate of each step, float64
    hyperparameters: tf.Tensor  # the optimizer's, weight decay, clipping threshold


class Steps(NamedTuple):
    """What a chunk of steps leaves behind."""

    state: State
    count: tf.Tensor  # steps made: fewer than asked for where something stopped being finite
    loss: tf.Tensor  # [capacity], of which `count` hold
    metrics: tf.Tensor  # [capacity, metrics], sums over the rows of each batch
    finite: tf.Tensor  # [capacity], whether loss and gradient were
    recorded_steps: tf.Tensor  # how many of them were recorded
    recorded: tf.Tensor  # [recorded capacity, columns]


class Program:
    """The training step of a plan.

    With `xla`, a chunk of whole batches is one XLA program: three to five times faster a step on a CPU and slower
    to compile (performance figures in docs/benchmarks.md). A last smaller batch runs in graph mode.
    """

    def __init__(self, plan: Plan, model: keras.Model | None = None, *, record: bool = True, xla: bool = False) -> None:
        training = plan.spec.training
        self._plan = plan
        self._tapped = record and any(s.of_activations for s in plan.recorded)
        self.model = model if model is not None else build(plan, tapped=self._tapped)
        self._taps = taps(plan) if self._tapped else ()
        self._optimizer = optimizer_for(training.optimizer)
        self._decays = bool(training.optimizer.weight_decay)
        self._clipping = training.gradient_clipping
        self._batch_size = plan.batch_size
        self._stops = training.stop_on_divergence
        self._every = plan.spec.recording.every
        self._trainable = FlatLayout(tuple(tuple(v.shape) for v in self.model.trainable_variables))
        self._seeds = seed_states(plan, self.model)
        fixed = self.model.non_trainable_variables
        self._buffer_positions = [i for i in range(len(fixed)) if i not in self._seeds]
        self._fixed = FlatLayout(tuple(tuple(fixed[i].shape) for i in self._buffer_positions))
        self._dtype: tf.DType = tf.as_dtype(training.precision)
        self._statistics = Statistics(plan, self._trainable) if record else None
        self._variable_order = variable_order(plan, self.model)
        affordable = max(1, MOST_VALUES_A_CALL // max(1, self._columns))
        self.capacity = min(plan.work.steps_per_epoch, MOST_STEPS_A_CALL, affordable)
        whole = partial(self._steps, True)
        self._graph_steps = tf.function(partial(self._steps, False), autograph=False, reduce_retracing=True)
        self._whole_steps = tf.function(whole, autograph=False, jit_compile=True) if xla else self._graph_steps
        self._evaluate = tf.function(self._sums, autograph=False, reduce_retracing=True)

    def initial_state(self) -> State:
        """The model's own weights, and an optimizer that has not moved yet."""
        dtype = self._dtype.name
        weights = tf.constant(
            self._trainable.flatten_values([v.numpy() for v in self.model.trainable_variables], dtype)
        )
        fixed = [self.model.non_trainable_variables[i].numpy() for i in self._buffer_positions]
        return State(
            weights,
            tf.constant(self._fixed.flatten_values(fixed, dtype)),
            self._optimizer.initial_slots(weights),
            tf.constant(0.0, tf.float64),
            tf.fill([self._statistics.hidden_units if self._statistics else 0], tf.constant(NEVER, tf.float64)),
        )

    def variables(self, state: State) -> tuple[list[Floats], list[Floats]]:
        """Trainable variables and buffers of a state, in the model's order."""
        trainable = [np.asarray(t) for t in self._trainable.split(state.weights)]
        return trainable, [np.asarray(t) for t in self._split_buffers(state.buffers)]

    def trained_model(self, state: State) -> keras.Model:
        """The plan's network with the weights of a state."""
        trainable, buffers = self.variables(state)
        for variable, value in zip(self.model.trainable_variables, trainable, strict=True):
            variable.assign(value)
        for position, value in zip(self._buffer_positions, buffers, strict=True):
            self.model.non_trainable_variables[position].assign(value)
        if not self._tapped:
            return self.model
        plain = build(self._plan)
        for node in self._plan.network.nodes:
            if node.name in self._plan.network.reached:
                plain.get_layer(node.name).set_weights(self.model.get_layer(node.name).get_weights())
        return plain

    def hyperparameters(self) -> tf.Tensor:
        """The optimizer's, then the weight decay and the clipping threshold (0 where there is none)."""
        threshold = self._clipping.threshold if self._clipping else 0.0
        weight_decay = self._plan.spec.training.optimizer.weight_decay or 0.0
        return tf.constant([*self._optimizer.hyperparameters(), weight_decay, threshold], tf.float64)

    def run(self, state: State, feed: Feed) -> Steps:
        """Make `feed.count` steps, from batch number `feed.batch` of the epoch's order on.

        All of whole batches, or all of the last smaller one; a count of 0 only compiles.
        """
        whole = (int(feed.batch) + max(1, int(feed.count))) * self._batch_size <= feed.order.shape[0]
        steps = self._whole_steps if whole else self._graph_steps
        result: Steps = steps(state, feed)
        return result

    def recorded(self, steps: Steps) -> dict[Statistic, Floats]:
        """Each statistic [recorded steps, variables or activations], from input to output."""
        if self._statistics is None:
            return {}
        rows = np.asarray(steps.recorded)[: int(steps.recorded_steps)]
        found: dict[Statistic, Floats] = {}
        start = 0
        for name in self._statistics.names:
            stop = start + self._statistics.columns(name)
            part = rows[:, start:stop]
            found[name] = part if name.of_activations else part[:, self._variable_order]
            start = stop
        return found

    def evaluate(self, state: State, x: tf.Tensor, y: tf.Tensor) -> Floats:
        """Sums over the rows of the loss and of each metric [1 + metrics], in inference mode."""
        return np.asarray(self._evaluate(state.weights, state.buffers, x, y), np.float64)

    # ---------------------------------------------------------------- traced

    def _steps(self, whole_batches: bool, state: State, feed: Feed) -> Steps:
        size = self._batch_size

        def rows_of(number: tf.Tensor) -> tf.Tensor:
            if whole_batches:  # XLA wants the size of the slice beforehand
                return tf.gather(feed.order, number * size + tf.range(size))
            return feed.order[number * size : (number + 1) * size]

        def step(
            i: tf.Tensor, kept: tf.Tensor, alive: tf.Tensor, state: State, *records: tf.TensorArray
        ) -> tuple[object, ...]:
            del alive
            rows = rows_of(feed.batch + i)
            made = self._one_step(state, tf.gather(feed.x, rows), tf.gather(feed.y, rows), feed.rates[i], feed)
            losses, metrics, finite, recorded = records
            keeps = tf.cast(state.step % self._every == 0, tf.int32)
            return (
                i + 1,
                kept + keeps,
                made.finite if self._stops else tf.constant(True),
                made.state,
                losses.write(i, made.loss),
                metrics.write(i, made.metrics),
                finite.write(i, tf.cast(made.finite, self._dtype)),
                recorded.write(kept, made.recorded),  # the next step writes there again unless this one is kept
            )

        def record_of(length: int, *shape: int) -> tf.TensorArray:
            return tf.TensorArray(self._dtype, length, element_shape=shape)

        records = (
            record_of(self.capacity),
            record_of(self.capacity, len(self._plan.objective.metrics)),
            record_of(self.capacity),
            record_of(math.ceil(self.capacity / self._every) + 1, self._columns),
        )
        done, kept, _, state, loss, metrics, finite, recorded = tf.while_loop(
            lambda i, _, alive, *__: (i < feed.count) & alive,
            step,
            (tf.constant(0), tf.constant(0), tf.constant(True), state, *records),
            parallel_iterations=1,
        )
        return Steps(state, done, loss.stack(), metrics.stack(), finite.stack(), kept, recorded.stack())

    def _one_step(self, state: State, inputs: tf.Tensor, labels: tf.Tensor, rate: tf.Tensor, feed: Feed) -> "_Step":
        loss, metrics, gradient, buffers, seen = self._gradient(state, inputs, labels)
        *hyperparameters, weight_decay, threshold = tf.unstack(feed.hyperparameters)
        norms = self._trainable.norms(gradient) if self._needs_norms else None
        applied = gradient
        if self._clipping is not None:
            applied = clipped(gradient, norms, self._trainable, self._clipping, threshold)
        change, slots = self._optimizer.update(applied, state.slots, state.step + 1, rate, tf.stack(hyperparameters))
        if self._decays:
            change -= state.weights * tf.cast(weight_decay * rate, self._dtype)
        active = state.last_active
        recorded = tf.zeros([0], self._dtype)
        if self._statistics is not None:
            active = self._statistics.activity(state.step, seen, active)
            moment = Moment(state.step, state.weights, gradient, norms, applied, change, seen, active)
            recorded = self._measured(self._statistics, moment)
        after = State(state.weights + change, buffers, slots, state.step + 1, active)
        return _Step(after, loss, metrics, self._is_finite(loss, norms, applied), recorded)

    def _is_finite(self, loss: tf.Tensor, norms: tf.Tensor | None, applied: tf.Tensor) -> tf.Tensor:
        """Whether loss and applied gradient are: ReLU makes 0 of NaN, and such a loss goes on as if nothing were."""
        finite = tf.math.is_finite(loss)
        if self._clipping is not None and self._clipping.by == "value":  # which makes infinite entries finite
            return finite & tf.reduce_all(tf.math.is_finite(applied))
        return finite if norms is None else finite & tf.reduce_all(tf.math.is_finite(norms))

    def _measured(self, statistics: Statistics, moment: Moment) -> tf.Tensor:
        """The statistics, or zeros at a step that is not recorded."""
        measure = partial(statistics.measure, moment)
        if self._every == 1:
            return measure()
        keeps = moment.number % self._every == 0
        return tf.cond(keeps, measure, lambda: tf.zeros([self._columns], self._dtype))

    def _gradient(
        self, state: State, inputs: tf.Tensor, labels: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor, tf.Tensor, list[Seen]]:
        """Loss, metrics, flat gradient, buffers after it, and hidden activations of one batch before its update."""
        trainable = self._trainable.split(state.weights)
        with tf.GradientTape() as tape:
            tape.watch(trainable)
            outputs, fixed = self.model.stateless_call(
                trainable, self._fixed_values(state.buffers, state.step), inputs, training=True
            )
            outputs, *further = outputs if self._tapped else (outputs,)
            loss = tf.reduce_mean(row_losses(self._plan.objective, labels, outputs))
        gradients = tape.gradient(loss, trainable, unconnected_gradients=tf.UnconnectedGradients.ZERO)
        gradient = self._trainable.flatten([tf.convert_to_tensor(g) for g in gradients])  # an embedding's is sparse
        after = [fixed[i] for i in self._buffer_positions]
        buffers = self._fixed.flatten(after) if after else state.buffers
        metrics = tf.reduce_sum(row_metrics(self._plan.objective, labels, outputs), axis=0)
        return loss, metrics, gradient, buffers, self._seen(further)

    def _seen(self, further: list[tf.Tensor]) -> list[Seen]:
        waiting = iter(further)
        return [Seen(next(waiting) if tap.before else None, next(waiting)) for tap in self._taps]

    def _sums(self, weights: tf.Tensor, buffers: tf.Tensor, x: tf.Tensor, y: tf.Tensor) -> tf.Tensor:
        fixed = self._fixed_values(buffers, tf.constant(0.0, tf.float64))
        outputs, _ = self.model.stateless_call(self._trainable.split(weights), fixed, x, training=False)
        outputs = outputs[0] if self._tapped else outputs
        losses = row_losses(self._plan.objective, y, outputs)[:, None]
        return tf.reduce_sum(tf.concat([losses, row_metrics(self._plan.objective, y, outputs)], axis=1), axis=0)

    def _fixed_values(self, buffers: tf.Tensor, step: tf.Tensor) -> list[tf.Tensor]:
        """Values of the model's fixed variables: buffers, and the random state of each noise layer at this step."""
        values: list[tf.Tensor] = [None] * len(self.model.non_trainable_variables)
        for position, value in zip(self._buffer_positions, self._split_buffers(buffers), strict=True):
            values[position] = value
        for position, seed in self._seeds.items():
            values[position] = tf.stack([tf.constant(seed, tf.int64), tf.cast(step, tf.int64) * DRAWS_A_STEP])
        return values

    def _split_buffers(self, buffers: tf.Tensor) -> list[tf.Tensor]:
        return self._fixed.split(buffers) if self._fixed.shapes else []

    @property
    def _columns(self) -> int:
        return sum(self._statistics.columns(name) for name in self._statistics.names) if self._statistics else 0

    @property
    def _needs_norms(self) -> bool:
        return self._statistics is not None or (self._clipping is not None and self._clipping.by != "value")


class _Step(NamedTuple):
    state: State
    loss: tf.Tensor
    metrics: tf.Tensor
    finite: tf.Tensor
    recorded: tf.Tensor
