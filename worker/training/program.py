"""The compiled part of training: a chunk of steps, and the evaluation, as pure functions of tensors.

Data, order, seeds and hyperparameters are arguments, so that one program serves every run of an architecture
(`service.contract.architecture`).
"""

import math
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from service.contract.architecture import architecture_of
from service.contract.plan import Plan
from service.contract.recording_spec import Statistic
from worker.training.blocks import Fixed
from worker.training.clipping import clipped
from worker.training.initial import Initial
from worker.training.losses import row_losses, row_metrics
from worker.training.network import StagedNetwork
from worker.training.optimizers import Optimizer, optimizer_for
from worker.training.stable_names import stable_names
from worker.training.statistics import Moment, Statistics

MOST_STEPS_A_CALL = 2048
MOST_VALUES_A_CALL = 2_000_000
DRAWS_A_STEP = 1024  # of one noise layer at most: an LSTM draws four masks
NEVER = -1.0  # the step before the first

XLA_FROM_STEPS = 2_500  # XLA saves 0.3 to 0.9 ms a step of the presets on a CPU and costs 0.8 to 2.2 s to compile

# Layers from which a stage that repeats is a loop in the program; below, it is written out (docs/decisions/0008).
LOOPS_IN_GRAPH = 20
LOOPS_IN_XLA = 40

Floats = npt.NDArray[np.floating]


class State(NamedTuple):
    """Everything that a step changes."""

    weights: tf.Tensor  # [parameters]
    buffers: tf.Tensor  # [moving statistics of batch normalization]
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
    noise: tf.Tensor  # [noise states], seeds, int64


class Steps(NamedTuple):
    """What a chunk of steps leaves behind."""

    state: State
    count: tf.Tensor  # steps made: fewer than asked for where something stopped being finite
    loss: tf.Tensor  # [capacity], of which `count` hold
    metrics: tf.Tensor  # [capacity, metrics], sums over the rows of each batch
    finite: tf.Tensor  # [capacity], whether loss and gradient were
    recorded_steps: tf.Tensor  # how many of them were recorded
    recorded: tf.Tensor  # [recorded capacity, columns]


def pays_xla(plan: Plan) -> bool:
    """Whether a run is compiled with XLA: by its length, never by the clock, so that one spec gives the same bytes."""
    return plan.work.total_steps >= XLA_FROM_STEPS


class Program:
    """The training step of a plan.

    With `xla`, a chunk of whole batches is one XLA program: three to five times faster a step on a CPU and slower
    to compile (performance figures in docs/benchmarks.md). A last smaller batch runs in graph mode.
    """

    def __init__(self, plan: Plan, *, record: bool = True, xla: bool = False) -> None:
        training = plan.spec.training
        self.is_compiled = False  # whether a run has said so: a chunk compiles whatever still has to be
        tapped = record and any(s.of_activations for s in plan.recorded)
        self.network = StagedNetwork(plan, tapped=tapped)
        self._optimizer = optimizer_for(training.optimizer)
        self.dtype = self.network.dtype
        self._architecture, self.uses_xla = architecture_of(plan), xla
        self._objective = plan.objective
        self._decays = bool(training.optimizer.weight_decay)
        self._clipping = training.gradient_clipping
        self._batch_size = plan.batch_size
        self._stops = training.stop_on_divergence
        self._every = plan.spec.recording.every
        self._statistics = Statistics(plan, self.network.layout) if record else None
        affordable = max(1, MOST_VALUES_A_CALL // max(1, self._columns))
        self.capacity = min(plan.work.steps_per_epoch, MOST_STEPS_A_CALL, affordable)
        self._graph_steps = tf.function(self._any_steps, autograph=False)
        self._whole_steps = (
            tf.function(self._steps_of_whole_batches, autograph=False, jit_compile=True) if xla else self._graph_steps
        )
        self._traced: dict[bool, Callable[[State, Feed], Steps]] = {}
        self._evaluate = tf.function(self._sums, autograph=False, reduce_retracing=True)

    def state(self, initial: Initial, optimizer: Optimizer) -> State:
        """The state before the first step: these values, and the run's optimizer, which has not moved yet."""
        network, dtype = self.network, self.dtype.name
        weights = tf.constant(network.layout.flatten_values(initial.trainable, dtype))
        return State(
            weights,
            tf.constant(network.buffers.flatten_values(initial.buffers, dtype)),
            optimizer.initial_slots(weights),
            tf.constant(0.0, tf.float64),
            tf.fill([self._statistics.hidden_units if self._statistics else 0], tf.constant(NEVER, tf.float64)),
        )

    def variables(self, state: State) -> Initial:
        """Trainable variables and buffers of a state, from input to output."""
        network = self.network
        return Initial(
            network.layout.split_values(state.weights.numpy()), network.buffers.split_values(state.buffers.numpy())
        )

    def run(self, state: State, feed: Feed) -> Steps:
        """Make `feed.count` steps, from batch number `feed.batch` of the epoch's order on.

        All of whole batches, or all of the last smaller one; a count of 0 only compiles.
        """
        whole = (int(feed.batch) + max(1, int(feed.count))) * self._batch_size <= feed.order.shape[0]
        if whole not in self._traced:
            steps = self._whole_steps if whole else self._graph_steps
            if tf.config.functions_run_eagerly():
                eager: Steps = steps(state, feed)
                return eager
            traced = steps.get_concrete_function
            # Called as it is: to look a trace up by its arguments at every call takes a third of a millisecond.
            self._traced[whole] = self._trace_for_disk(state, feed) if whole and self.uses_xla else traced(state, feed)
        return self._traced[whole](state, feed)

    def _trace_for_disk(self, state: State, feed: Feed) -> Callable[[State, Feed], Steps]:
        traced: Callable[[State, Feed], Callable[[State, Feed], Steps]] = self._whole_steps.get_concrete_function
        try:
            with stable_names(self._architecture):
                return traced(state, feed)
        except tf.errors.InvalidArgumentError:  # an earlier trace has the names, and is not freed yet
            return traced(state, feed)

    def recorded(self, steps: Steps) -> dict[Statistic, Floats]:
        """Each statistic [recorded steps, variables or activations], from input to output."""
        if self._statistics is None:
            return {}
        rows = np.asarray(steps.recorded)[: int(steps.recorded_steps)]
        found: dict[Statistic, Floats] = {}
        start = 0
        for name in self._statistics.names:
            stop = start + self._statistics.columns(name)
            found[name] = rows[:, start:stop]
            start = stop
        return found

    def evaluate(self, state: State, x: tf.Tensor, y: tf.Tensor) -> Floats:
        """Sums over the rows of the loss and of each metric [1 + metrics], in inference mode."""
        return np.asarray(self._evaluate(state.weights, state.buffers, x, y), np.float64)

    # ---------------------------------------------------------------- traced

    def _any_steps(self, state: State, feed: Feed) -> Steps:
        return self._steps(state, feed, whole_batches=False, loops_from=LOOPS_IN_GRAPH)

    def _steps_of_whole_batches(self, state: State, feed: Feed) -> Steps:
        return self._steps(state, feed, whole_batches=True, loops_from=LOOPS_IN_XLA)

    def _steps(self, state: State, feed: Feed, *, whole_batches: bool, loops_from: int) -> Steps:
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
            inputs, labels = tf.gather(feed.x, rows), tf.gather(feed.y, rows)
            made = self._one_step(state, inputs, labels, feed.rates[i], feed, loops_from)
            losses, metrics, finite, recorded = records
            keeps = tf.cast(state.step % self._every == 0, tf.int32)
            return (
                i + 1,
                kept + keeps,
                made.finite if self._stops else tf.constant(True),
                made.state,
                losses.write(i, made.loss),
                metrics.write(i, made.metrics),
                finite.write(i, tf.cast(made.finite, self.dtype)),
                recorded.write(kept, made.recorded),  # the next step writes there again unless this one is kept
            )

        def record_of(length: int, *shape: int) -> tf.TensorArray:
            return tf.TensorArray(self.dtype, length, element_shape=shape)

        records = (
            record_of(self.capacity),
            record_of(self.capacity, len(self._objective.metrics)),
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

    def _one_step(
        self, state: State, inputs: tf.Tensor, labels: tf.Tensor, rate: tf.Tensor, feed: Feed, loops_from: int
    ) -> "_Step":
        def loss_of(outputs: tf.Tensor) -> tf.Tensor:
            return tf.reduce_mean(row_losses(self._objective, labels, outputs))

        fixed = self._fixed(state.buffers, feed.noise, state.step)
        found = self.network.gradient(state.weights, fixed, inputs, loss_of, loops_from)
        loss, gradient, seen = found.loss, found.flat, found.seen
        metrics = tf.reduce_sum(row_metrics(self._objective, labels, found.outputs), axis=0)
        *hyperparameters, weight_decay, threshold = tf.unstack(feed.hyperparameters)
        norms = self.network.layout.norms(gradient) if self._needs_norms else None
        applied = gradient
        if self._clipping is not None:
            applied = clipped(gradient, norms, self.network.layout, self._clipping, threshold)
        change, slots = self._optimizer.update(applied, state.slots, state.step + 1, rate, tf.stack(hyperparameters))
        if self._decays:
            change -= state.weights * tf.cast(weight_decay * rate, self.dtype)
        active = state.last_active
        recorded = tf.zeros([0], self.dtype)
        if self._statistics is not None:
            active = self._statistics.activity(state.step, seen, active)
            moment = Moment(state.step, state.weights, gradient, norms, applied, change, seen, active)
            recorded = self._measured(self._statistics, moment)
        after = State(state.weights + change, found.buffers, slots, state.step + 1, active)
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
        return tf.cond(keeps, measure, lambda: tf.zeros([self._columns], self.dtype))

    def _sums(self, weights: tf.Tensor, buffers: tf.Tensor, x: tf.Tensor, y: tf.Tensor) -> tf.Tensor:
        undrawn = tf.zeros([self.network.noise_states], tf.int64)
        fixed = self._fixed(buffers, undrawn, tf.constant(0.0, tf.float64))
        outputs = self.network.outputs(weights, fixed, x, LOOPS_IN_GRAPH)
        losses = row_losses(self._objective, y, outputs)[:, None]
        return tf.reduce_sum(tf.concat([losses, row_metrics(self._objective, y, outputs)], axis=1), axis=0)

    def _fixed(self, buffers: tf.Tensor, noise: tf.Tensor, step: tf.Tensor) -> Fixed:
        """What no gradient flows to; the random state of a noise layer is a function of its seed and the step."""
        return Fixed(self.network.buffers.split(buffers), noise, tf.cast(step, tf.int64) * DRAWS_A_STEP)

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
