"""The compiled part of training: a chunk of steps, and the evaluation, as pure functions of tensors.

Data, order, seeds and hyperparameters are arguments, so that one program serves every run of an architecture
(`service.contract.architecture`, docs/decisions/0009).
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
from worker.training.clipping import clipped_gradient
from worker.training.initial_values import InitialValues
from worker.training.keras_session import KerasSession
from worker.training.losses import sample_losses, sample_metrics
from worker.training.optimizers import Optimizer, optimizer_for
from worker.training.stage_passes import FixedInputs
from worker.training.staged_network import StagedNetwork
from worker.training.statistics import Statistics, StepValues

MAX_STEPS_PER_CALL = 2048
MAX_VALUES_PER_CALL = 2_000_000  # recorded values
DRAWS_PER_STEP = 1024  # more than any noise layer draws in one step: an LSTM draws four masks
NEVER = -1.0  # `last_active` of a unit that has not been active yet

# XLA saves 0.3 to 0.9 ms per step of the presets on a CPU and takes 0.8 to 2.2 s to compile (docs/decisions/0002).
XLA_FROM_STEPS = 2_500

# Minimum number of layers for which a stage that repeats is a loop; else it is unrolled (docs/decisions/0008).
LOOPS_IN_GRAPH = 20
LOOPS_IN_XLA = 40

Floats = npt.NDArray[np.floating]


class TrainingState(NamedTuple):
    """Everything that a step changes; vectors are in the precision of the plan unless a dtype is given."""

    weights: tf.Tensor  # [parameters]
    buffers: tf.Tensor  # [buffer values], the moving statistics of batch normalization
    slots: tuple[tf.Tensor, ...]  # of the optimizer, each [parameters]
    step: tf.Tensor  # number of updates so far, float64 []
    last_active: tf.Tensor  # float64 [hidden units] if inactive units are recorded, else [0]


class Feed(NamedTuple):
    """What a chunk of steps reads."""

    x: tf.Tensor  # training inputs [samples, …]
    y: tf.Tensor  # training labels [samples, …]
    order: tf.Tensor  # indices of the training samples in the order of this epoch, int32 [samples]
    batch: tf.Tensor  # number of the first batch of the chunk, int32 []
    count: tf.Tensor  # number of steps, int32 []
    rates: tf.Tensor  # learning rate of each step, float64 [capacity]
    hyperparameters: tf.Tensor  # those of the optimizer, weight decay, clipping threshold: float64 [count]
    noise: tf.Tensor  # seed of each noise state, int64 [noise states]


class StepResults(NamedTuple):
    """What a chunk of steps computes."""

    state: TrainingState  # after the last step
    count: tf.Tensor  # number of steps done, int32 []; fewer than requested if loss or gradient became not finite
    loss: tf.Tensor  # [capacity]; only the first `count` entries are valid, here and below
    metrics: tf.Tensor  # [capacity, metrics], sums over the samples of each batch
    finite: tf.Tensor  # [capacity], 1 if loss and gradient were finite, else 0
    recorded_steps: tf.Tensor  # number of recorded steps, int32 []
    recorded: tf.Tensor  # [recorded capacity, columns]; only the first `recorded_steps` rows are valid


def worth_xla(plan: Plan) -> bool:
    """Whether a run is long enough to be compiled with XLA.

    The answer depends on the spec alone and never on time, so that equal specs give equal bytes.
    """
    return plan.work.total_steps >= XLA_FROM_STEPS


class Program:
    """The training step and the evaluation of an architecture.

    Args:
        plan: A plan of the architecture.
        session: Gives access to Keras. Callers need not hold it.
        record: Whether statistics are recorded.
        xla: Whether whole batches are compiled with XLA: two to five times faster per step on a CPU, and slower to
            compile (docs/decisions/0002). A smaller last batch runs in graph mode in any case.

    Attributes:
        session: Gives access to Keras.
        network: The network of the plan.
        dtype: Precision of weights and gradients.
        uses_xla: Whether whole batches are compiled with XLA.
        capacity: The largest number of steps of one call of `run`.
        is_compiled: Set by a run after everything that it needs is compiled.
    """

    def __init__(self, plan: Plan, session: KerasSession, *, record: bool = True, xla: bool = False) -> None:
        training = plan.spec.training
        self.session = session
        self.is_compiled = False
        tapped = record and any(s.of_activations for s in plan.recorded)
        self.network = StagedNetwork(plan, session, tapped=tapped)
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
        affordable = max(1, MAX_VALUES_PER_CALL // max(1, self._columns))
        self.capacity = min(plan.work.steps_per_epoch, MAX_STEPS_PER_CALL, affordable)
        self._graph_steps = tf.function(self._any_steps, autograph=False)
        self._whole_steps = (
            tf.function(self._steps_of_whole_batches, autograph=False, jit_compile=True) if xla else self._graph_steps
        )
        self._traced: dict[bool, Callable[[TrainingState, Feed], StepResults]] = {}
        self._evaluate = tf.function(self._sums, autograph=False, reduce_retracing=True)

    @property
    def functions(self) -> tuple[tf.types.experimental.PolymorphicFunction, ...]:
        """The functions that calls of `run` and `evaluate` trace, so that traces can be counted."""
        steps = (self._whole_steps, self._graph_steps) if self.uses_xla else (self._graph_steps,)
        return (*steps, self._evaluate)

    def state(self, initial: InitialValues, optimizer: Optimizer) -> TrainingState:
        """Return the state before the first step.

        Args:
            initial: Initial values of the variables, from input to output.
            optimizer: The optimizer of the run, whose initial slots may differ from those of the plan.
        """
        network, dtype = self.network, self.dtype.name
        weights = tf.constant(network.layout.flatten_values(initial.trainable, dtype))
        return TrainingState(
            weights,
            tf.constant(network.buffers.flatten_values(initial.buffers, dtype)),
            optimizer.initial_slots(weights),
            tf.constant(0.0, tf.float64),
            tf.fill([self._statistics.hidden_units if self._statistics else 0], tf.constant(NEVER, tf.float64)),
        )

    def variables(self, state: TrainingState) -> InitialValues:
        """Return the trainable variables and buffers of a state, from input to output, as NumPy arrays."""
        network = self.network
        return InitialValues(
            network.layout.split_values(state.weights.numpy()), network.buffers.split_values(state.buffers.numpy())
        )

    def run(self, state: TrainingState, feed: Feed) -> StepResults:
        """Train for `feed.count` steps, from batch number `feed.batch` of the epoch's order on.

        Traces and compiles at the first call, and at the first call with a smaller last batch.

        Args:
            state: The state before the steps; not mutated.
            feed: The batches of a chunk are either all whole or the single smaller last batch. A count of 0 compiles
                and trains nothing.
        """
        whole = (int(feed.batch) + max(1, int(feed.count))) * self._batch_size <= feed.order.shape[0]
        steps = self._whole_steps if whole else self._graph_steps
        if tf.config.functions_run_eagerly():
            eager: StepResults = steps(state, feed)
            return eager
        if whole not in self._traced:
            name = self._architecture if whole and self.uses_xla else None
            self._traced[whole] = self.session.trace(steps, state, feed, name=name)
        return self._traced[whole](state, feed)

    def recorded(self, results: StepResults) -> dict[Statistic, Floats]:
        """Return each statistic of a chunk as [recorded steps, variables or activations], from input to output."""
        if self._statistics is None:
            return {}
        rows = np.asarray(results.recorded)[: int(results.recorded_steps)]
        found: dict[Statistic, Floats] = {}
        start = 0
        for name in self._statistics.names:
            stop = start + self._statistics.columns(name)
            found[name] = rows[:, start:stop]
            start = stop
        return found

    def evaluate(self, state: TrainingState, x: tf.Tensor, y: tf.Tensor) -> Floats:
        """Sum the loss and each metric over samples, in inference mode.

        Args:
            state: Weights and buffers.
            x: Inputs [samples, …].
            y: Labels [samples, …].

        Returns:
            float64 [1 + metrics].
        """
        return np.asarray(self._evaluate(state.weights, state.buffers, x, y), np.float64)

    # ---------------------------------------------------------------- traced

    def _any_steps(self, state: TrainingState, feed: Feed) -> StepResults:
        return self._steps(state, feed, whole_batches=False, loops_from=LOOPS_IN_GRAPH)

    def _steps_of_whole_batches(self, state: TrainingState, feed: Feed) -> StepResults:
        return self._steps(state, feed, whole_batches=True, loops_from=LOOPS_IN_XLA)

    def _steps(self, state: TrainingState, feed: Feed, *, whole_batches: bool, loops_from: int) -> StepResults:
        size = self._batch_size

        def samples_of(number: tf.Tensor) -> tf.Tensor:
            if whole_batches:  # XLA must know the size of the slice when it compiles
                return tf.gather(feed.order, number * size + tf.range(size))
            return feed.order[number * size : (number + 1) * size]

        def step(
            i: tf.Tensor, kept: tf.Tensor, alive: tf.Tensor, state: TrainingState, *records: tf.TensorArray
        ) -> tuple[object, ...]:
            del alive
            samples = samples_of(feed.batch + i)
            inputs, labels = tf.gather(feed.x, samples), tf.gather(feed.y, samples)
            done = self._one_step(state, inputs, labels, feed.rates[i], feed, loops_from)
            losses, metrics, finite, recorded = records
            keeps = tf.cast(state.step % self._every == 0, tf.int32)
            return (
                i + 1,
                kept + keeps,
                done.finite if self._stops else tf.constant(True),
                done.state,
                losses.write(i, done.loss),
                metrics.write(i, done.metrics),
                finite.write(i, tf.cast(done.finite, self.dtype)),
                recorded.write(kept, done.recorded),  # the next step overwrites this row unless this step is recorded
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
        return StepResults(state, done, loss.stack(), metrics.stack(), finite.stack(), kept, recorded.stack())

    def _one_step(
        self,
        state: TrainingState,
        inputs: tf.Tensor,
        labels: tf.Tensor,
        learning_rate: tf.Tensor,
        feed: Feed,
        loops_from: int,
    ) -> "_StepResult":
        def loss_of(outputs: tf.Tensor) -> tf.Tensor:
            return tf.reduce_mean(sample_losses(self._objective, labels, outputs))

        fixed = self._fixed_inputs(state.buffers, feed.noise, state.step)
        found = self.network.gradient(state.weights, fixed, inputs, loss_of, loops_from)
        loss, gradient, observed = found.loss, found.flat, found.observed
        metrics = tf.reduce_sum(sample_metrics(self._objective, labels, found.outputs), axis=0)
        *hyperparameters, weight_decay, threshold = tf.unstack(feed.hyperparameters)
        norms = self.network.layout.norms(gradient) if self._needs_norms else None
        applied = gradient
        if self._clipping is not None:
            applied = clipped_gradient(gradient, norms, self.network.layout, self._clipping, threshold)
        change, slots = self._optimizer.update(
            applied, state.slots, state.step + 1, learning_rate, tf.stack(hyperparameters)
        )
        if self._decays:  # decoupled weight decay (Loshchilov and Hutter 2019), as Keras applies it for every optimizer
            change -= state.weights * tf.cast(weight_decay * learning_rate, self.dtype)
        active = state.last_active
        recorded = tf.zeros([0], self.dtype)
        if self._statistics is not None:
            active = self._statistics.activity(state.step, observed, active)
            values = StepValues(state.step, state.weights, gradient, norms, applied, change, observed, active)
            recorded = self._measured(self._statistics, values)
        after = TrainingState(state.weights + change, found.buffers, slots, state.step + 1, active)
        return _StepResult(after, loss, metrics, self._is_finite(loss, norms, applied), recorded)

    def _is_finite(self, loss: tf.Tensor, norms: tf.Tensor | None, applied: tf.Tensor) -> tf.Tensor:
        """Whether loss and applied gradient are finite; the loss can hide a NaN, because ReLU turns NaN into 0."""
        finite = tf.math.is_finite(loss)
        if self._clipping is not None and self._clipping.by == "value":  # it makes infinite entries finite
            return finite & tf.reduce_all(tf.math.is_finite(applied))
        return finite if norms is None else finite & tf.reduce_all(tf.math.is_finite(norms))

    def _measured(self, statistics: Statistics, step: StepValues) -> tf.Tensor:
        """Return the statistics of a step, or zeros if the step is not recorded."""
        measure = partial(statistics.measure, step)
        if self._every == 1:
            return measure()
        keeps = step.number % self._every == 0
        return tf.cond(keeps, measure, lambda: tf.zeros([self._columns], self.dtype))

    def _sums(self, weights: tf.Tensor, buffers: tf.Tensor, x: tf.Tensor, y: tf.Tensor) -> tf.Tensor:
        unused = tf.zeros([self.network.noise_states], tf.int64)  # noise layers draw nothing in inference mode
        fixed = self._fixed_inputs(buffers, unused, tf.constant(0.0, tf.float64))
        outputs = self.network.outputs(weights, fixed, x, LOOPS_IN_GRAPH)
        losses = sample_losses(self._objective, y, outputs)[:, None]
        return tf.reduce_sum(tf.concat([losses, sample_metrics(self._objective, y, outputs)], axis=1), axis=0)

    def _fixed_inputs(self, buffers: tf.Tensor, noise: tf.Tensor, step: tf.Tensor) -> FixedInputs:
        """Return what no gradient flows to; the state of a noise layer is a function of its seed and the step."""
        return FixedInputs(self.network.buffers.split(buffers), noise, tf.cast(step, tf.int64) * DRAWS_PER_STEP)

    @property
    def _columns(self) -> int:
        return sum(self._statistics.columns(name) for name in self._statistics.names) if self._statistics else 0

    @property
    def _needs_norms(self) -> bool:
        return self._statistics is not None or (self._clipping is not None and self._clipping.by != "value")


class _StepResult(NamedTuple):
    """What one step computes."""

    state: TrainingState
    loss: tf.Tensor  # []
    metrics: tf.Tensor  # [metrics], sums over the samples of the batch
    finite: tf.Tensor  # bool []
    recorded: tf.Tensor  # [columns]
