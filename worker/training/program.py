"""The compiled part of training: a chunk of steps, and the evaluation, as pure functions of tensors.

Data, order, seed and hyperparameters are arguments, so that one program can serve every run of an architecture.
"""

from functools import partial
from typing import NamedTuple

import keras
import numpy as np
import numpy.typing as npt
import tensorflow as tf

from worker.training.layout import FlatLayout
from worker.training.optimizers import Optimizer

MOST_STEPS_A_CALL = 2048
MOST_VALUES_A_CALL = 2_000_000


class State(NamedTuple):
    """Everything that a step changes."""

    weights: tf.Tensor  # [parameters]
    buffers: tf.Tensor  # [moving statistics of batch normalisation]
    slots: tuple[tf.Tensor, ...]  # each [parameters]
    step: tf.Tensor  # updates made so far, float64


class Steps(NamedTuple):
    """What a chunk of steps leaves behind."""

    state: State
    count: tf.Tensor  # steps made: fewer than asked for where the loss stopped being finite
    loss: tf.Tensor  # [capacity], of which `count` hold
    correct: tf.Tensor  # [capacity], rows classified right
    gradient_norm: tf.Tensor  # [capacity, variables]


class Program:
    """The training step of one architecture.

    With `xla`, a chunk of whole batches is one XLA program: three to five times faster a step on a CPU and slower
    to compile (performance figures in docs/benchmarks.md). A last smaller batch runs in graph mode.
    """

    def __init__(
        self,
        model: keras.Model,
        optimizer: Optimizer,
        *,
        batch_size: int,
        steps_per_epoch: int,
        record: bool = True,
        xla: bool = False,
    ) -> None:
        self._model = model
        self._optimizer = optimizer
        self._batch_size = batch_size
        self._record = record
        self._binary = model.output_shape[-1] == 1
        self._trainable = FlatLayout(tuple(tuple(v.shape) for v in model.trainable_variables))
        self._fixed = FlatLayout(tuple(tuple(v.shape) for v in model.non_trainable_variables))
        self._dtype: tf.DType = tf.as_dtype(model.trainable_variables[0].dtype)
        self._columns = len(self._trainable.shapes) if record else 0
        affordable = max(1, MOST_VALUES_A_CALL // max(1, self._columns))
        self.capacity = min(steps_per_epoch, MOST_STEPS_A_CALL, affordable)
        whole = partial(self._steps, True)
        self._graph_steps = tf.function(partial(self._steps, False), autograph=False, reduce_retracing=True)
        self._whole_steps = tf.function(whole, autograph=False, jit_compile=True) if xla else self._graph_steps
        self._evaluate = tf.function(self._sums, autograph=False, reduce_retracing=True)

    def initial_state(self) -> State:
        """The model's own weights, and an optimizer that has not moved yet."""
        dtype = self._dtype.name
        weights = self._trainable.flatten_values([v.numpy() for v in self._model.trainable_variables], dtype)
        buffers = self._fixed.flatten_values([v.numpy() for v in self._model.non_trainable_variables], dtype)
        slots = tuple(tf.zeros_like(weights) for _ in range(self._optimizer.slots))
        return State(tf.constant(weights), tf.constant(buffers), slots, tf.constant(0.0, tf.float64))

    def variables(self, state: State) -> tuple[list[npt.NDArray[np.floating]], list[npt.NDArray[np.floating]]]:
        """Trainable and fixed variables of a state, in the model's order."""
        trainable = [np.asarray(t) for t in self._trainable.split(state.weights)]
        return trainable, [np.asarray(t) for t in self._split_buffers(state.buffers)]

    def prepare(
        self,
        state: State,
        x: tf.Tensor,
        y: tf.Tensor,
        order: tf.Tensor,
        whole_batches: bool,
        hyperparameters: tf.Tensor,
    ) -> None:
        """Compile what `run` will call, for whole batches or for the last smaller one; makes no step."""
        steps = self._whole_steps if whole_batches else self._graph_steps
        steps(state, x, y, order, tf.constant(0), tf.constant(0), hyperparameters)

    def run(
        self,
        state: State,
        x: tf.Tensor,
        y: tf.Tensor,
        order: tf.Tensor,
        batch: int,
        count: int,
        hyperparameters: tf.Tensor,
    ) -> Steps:
        """Make `count` steps, from batch number `batch` of the epoch's `order` on."""
        whole = (batch + count) * self._batch_size <= order.shape[0]
        steps = self._whole_steps if whole else self._graph_steps
        result: Steps = steps(state, x, y, order, tf.constant(batch), tf.constant(count), hyperparameters)
        return result

    def evaluate(self, state: State, x: tf.Tensor, y: tf.Tensor) -> tuple[float, float]:
        """Sum of the loss and number of correct rows, in inference mode."""
        loss, correct = self._evaluate(state.weights, state.buffers, x, y)
        return float(loss), float(correct)

    # ---------------------------------------------------------------- traced

    def _steps(
        self,
        whole_batches: bool,
        state: State,
        x: tf.Tensor,
        y: tf.Tensor,
        order: tf.Tensor,
        batch: tf.Tensor,
        count: tf.Tensor,
        hyperparameters: tf.Tensor,
    ) -> Steps:
        size = self._batch_size

        def rows_of(number: tf.Tensor) -> tf.Tensor:
            if whole_batches:  # XLA wants the size of the slice beforehand
                return tf.gather(order, number * size + tf.range(size))
            return order[number * size : (number + 1) * size]

        def step(i: tf.Tensor, alive: tf.Tensor, state: State, *records: tf.TensorArray) -> tuple[object, ...]:
            del alive
            rows = rows_of(batch + i)
            inputs, labels = tf.gather(x, rows), tf.gather(y, rows)
            loss, correct, gradient, buffers = self._gradient(state, inputs, labels)
            norms = self._trainable.norms(gradient) if self._record else tf.zeros([0], self._dtype)
            number = state.step + 1
            change, slots = self._optimizer.update(gradient, state.slots, number, hyperparameters)
            values = (loss, correct, norms)
            written = tuple(array.write(i, value) for array, value in zip(records, values, strict=True))
            return (
                i + 1,
                tf.math.is_finite(loss),
                State(state.weights + change, buffers, slots, number),
                *written,
            )

        def record_of(*shape: int) -> tf.TensorArray:
            return tf.TensorArray(self._dtype, self.capacity, element_shape=shape)

        done, _, state, loss, correct, norms = tf.while_loop(
            lambda i, alive, *_: (i < count) & alive,
            step,
            (tf.constant(0), tf.constant(True), state, record_of(), record_of(), record_of(self._columns)),
            parallel_iterations=1,
        )
        return Steps(state, done, loss.stack(), correct.stack(), norms.stack())

    def _gradient(
        self, state: State, inputs: tf.Tensor, labels: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor, tf.Tensor]:
        """Loss, correct rows, flat gradient, and buffers of one batch before its update."""
        trainable, fixed = self._trainable.split(state.weights), self._split_buffers(state.buffers)
        with tf.GradientTape() as tape:
            tape.watch(trainable)
            outputs, fixed = self._model.stateless_call(trainable, fixed, inputs, training=True)
            loss = tf.reduce_mean(self._losses(labels, outputs))
        gradient = self._trainable.flatten(tape.gradient(loss, trainable))
        buffers = self._fixed.flatten(fixed) if fixed else state.buffers
        return loss, self._correct(labels, outputs), gradient, buffers

    def _sums(self, weights: tf.Tensor, buffers: tf.Tensor, x: tf.Tensor, y: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        trainable, fixed = self._trainable.split(weights), self._split_buffers(buffers)
        outputs, _ = self._model.stateless_call(trainable, fixed, x, training=False)
        return tf.reduce_sum(self._losses(y, outputs)), self._correct(y, outputs)

    def _split_buffers(self, buffers: tf.Tensor) -> list[tf.Tensor]:
        return self._fixed.split(buffers) if self._fixed.shapes else []

    def _losses(self, labels: tf.Tensor, outputs: tf.Tensor) -> tf.Tensor:
        """Loss of each row [rows]; Keras reads the logits behind the sigmoid or softmax."""
        if self._binary:
            return keras.losses.binary_crossentropy(tf.cast(labels[:, None], self._dtype), outputs)
        return keras.losses.sparse_categorical_crossentropy(labels, outputs)

    def _correct(self, labels: tf.Tensor, outputs: tf.Tensor) -> tf.Tensor:
        if self._binary:
            predicted = tf.cast(outputs[:, 0] > 0.5, labels.dtype)
        else:
            predicted = tf.argmax(outputs, axis=-1, output_type=labels.dtype)
        return tf.reduce_sum(tf.cast(predicted == labels, self._dtype))
