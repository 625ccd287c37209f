"""Keras's optimizers on one flat vector: an update is a few operations, however many layers there are.

Hyperparameters are arguments (float64), so that one compiled program serves every value of them.
"""

from typing import NamedTuple, Protocol

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from service.contract.training_spec import Adagrad, Adam, OptimizerSpec, RmsProp, Sgd

Slots = tuple[tf.Tensor, ...]


class Update(NamedTuple):
    """What to add to the weights, and the optimizer's slots after it."""

    change: tf.Tensor
    slots: Slots


class Optimizer(Protocol):
    """An update rule; each slot is a vector as long as the weights."""

    def hyperparameters(self) -> npt.NDArray[np.float64]:
        """The values that `update` takes, the learning rate apart."""
        ...

    def initial_slots(self, weights: tf.Tensor) -> Slots:
        """The slots before the first update."""
        ...

    def update(
        self, gradient: tf.Tensor, slots: Slots, step: tf.Tensor, rate: tf.Tensor, hyperparameters: tf.Tensor
    ) -> Update:
        """The update number `step` (float64, counting from 1) at this learning rate (float64)."""
        ...


def _as_keras_casts(constant: tf.Tensor) -> tf.Tensor:
    """A Python number through `keras.ops.cast`: TensorFlow makes it float32 first, also on its way to float64."""
    return tf.cast(tf.cast(constant, tf.float32), constant.dtype)


def _zeros(weights: tf.Tensor, count: int) -> Slots:
    return tuple(tf.zeros_like(weights) for _ in range(count))


class AdamOptimizer:
    """`keras.optimizers.Adam`; slots are the moments m and v, and the largest v with `amsgrad`."""

    def __init__(self, spec: Adam) -> None:
        self._spec = spec

    def hyperparameters(self) -> npt.NDArray[np.float64]:
        """beta_1, beta_2, epsilon."""
        spec = self._spec
        return np.array([spec.beta_1, spec.beta_2, spec.epsilon])

    def initial_slots(self, weights: tf.Tensor) -> Slots:
        """Zeros."""
        return _zeros(weights, 3 if self._spec.amsgrad else 2)

    def update(
        self, gradient: tf.Tensor, slots: Slots, step: tf.Tensor, rate: tf.Tensor, hyperparameters: tf.Tensor
    ) -> Update:
        """Kingma and Ba 2015, section 2, the efficient order of computation."""
        beta_1, beta_2, epsilon = tf.unstack(hyperparameters)
        m, v, *largest = slots
        rate *= tf.sqrt(1 - _as_keras_casts(beta_2) ** step) / (1 - _as_keras_casts(beta_1) ** step)

        def cast(scalar: tf.Tensor) -> tf.Tensor:
            return tf.cast(scalar, gradient.dtype)

        m += (gradient - m) * cast(1 - beta_1)
        v += (tf.square(gradient) - v) * cast(1 - beta_2)
        largest = [tf.maximum(each, v) for each in largest]
        scale = largest[0] if largest else v
        return Update(-(m * cast(rate)) / (tf.sqrt(scale) + cast(epsilon)), (m, v, *largest))


class SgdOptimizer:
    """`keras.optimizers.SGD`; the slot is the velocity."""

    def __init__(self, spec: Sgd) -> None:
        self._spec = spec

    def hyperparameters(self) -> npt.NDArray[np.float64]:
        """Momentum."""
        return np.array([self._spec.momentum])

    def initial_slots(self, weights: tf.Tensor) -> Slots:
        """Zeros."""
        return _zeros(weights, 1)

    def update(
        self, gradient: tf.Tensor, slots: Slots, step: tf.Tensor, rate: tf.Tensor, hyperparameters: tf.Tensor
    ) -> Update:
        """Velocity ← momentum · velocity − learning_rate · gradient, added to the weights."""
        del step
        momentum = tf.cast(_as_keras_casts(hyperparameters[0]), gradient.dtype)
        descent = gradient * tf.cast(rate, gradient.dtype)
        velocity = slots[0] * momentum - descent
        ahead = self._spec.nesterov and self._spec.momentum > 0
        return Update(velocity * momentum - descent if ahead else velocity, (velocity,))


class RmsPropOptimizer:
    """`keras.optimizers.RMSprop`; slots are the mean square, then the velocity, and the mean with `centered`."""

    def __init__(self, spec: RmsProp) -> None:
        self._spec = spec

    def hyperparameters(self) -> npt.NDArray[np.float64]:
        """rho, momentum, epsilon."""
        return np.array([self._spec.rho, self._spec.momentum, self._spec.epsilon])

    def initial_slots(self, weights: tf.Tensor) -> Slots:
        """Zeros."""
        return _zeros(weights, 3 if self._spec.centered else 2)

    def update(
        self, gradient: tf.Tensor, slots: Slots, step: tf.Tensor, rate: tf.Tensor, hyperparameters: tf.Tensor
    ) -> Update:
        """The gradient over the root of its mean square, with momentum."""
        del step
        rho, momentum, epsilon = tf.unstack(tf.cast(hyperparameters, gradient.dtype))
        square, velocity, *mean = slots
        square = rho * square + (1 - rho) * tf.square(gradient)
        mean = [rho * each + (1 - rho) * gradient for each in mean]
        variance = square - tf.square(mean[0]) if mean else square
        step_down = tf.cast(rate, gradient.dtype) * gradient / tf.sqrt(variance + epsilon)
        velocity = momentum * velocity + step_down
        return Update(-velocity, (square, velocity, *mean))


class AdagradOptimizer:
    """`keras.optimizers.Adagrad`; the slot is the sum of squares."""

    def __init__(self, spec: Adagrad) -> None:
        self._spec = spec

    def hyperparameters(self) -> npt.NDArray[np.float64]:
        """Epsilon."""
        return np.array([self._spec.epsilon])

    def initial_slots(self, weights: tf.Tensor) -> Slots:
        """The initial accumulator value."""
        return (tf.fill(tf.shape(weights), tf.cast(self._spec.initial_accumulator_value, weights.dtype)),)

    def update(
        self, gradient: tf.Tensor, slots: Slots, step: tf.Tensor, rate: tf.Tensor, hyperparameters: tf.Tensor
    ) -> Update:
        """The gradient over the root of its sum of squares."""
        del step
        total = slots[0] + tf.square(gradient)
        epsilon = tf.cast(hyperparameters[0], gradient.dtype)
        return Update(-tf.cast(rate, gradient.dtype) * gradient / tf.sqrt(total + epsilon), (total,))


def optimizer_for(spec: OptimizerSpec) -> Optimizer:
    """The update rule that a spec names, its weight decay apart."""
    match spec:
        case Adam():
            return AdamOptimizer(spec)
        case Sgd():
            return SgdOptimizer(spec)
        case RmsProp():
            return RmsPropOptimizer(spec)
        case Adagrad():
            return AdagradOptimizer(spec)
