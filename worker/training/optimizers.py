"""Keras's optimizers on one flat vector: an update is a few operations, however many layers there are.

Hyperparameters are arguments (float64), so that one compiled program serves every value of them.
"""

from typing import NamedTuple, Protocol

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from service.contract.spec import Adam, OptimizerSpec, Sgd


class Update(NamedTuple):
    """What to add to the weights, and the optimizer's slots after it."""

    change: tf.Tensor
    slots: tuple[tf.Tensor, ...]


class Optimizer(Protocol):
    """An update rule; each slot is a vector as long as the weights and starts at zero."""

    slots: int

    def hyperparameters(self) -> npt.NDArray[np.float64]:
        """The values that `update` takes."""
        ...

    def update(
        self, gradient: tf.Tensor, slots: tuple[tf.Tensor, ...], step: tf.Tensor, hyperparameters: tf.Tensor
    ) -> Update:
        """The update number `step` (float64, counting from 1)."""
        ...


def _as_keras_casts(constant: tf.Tensor) -> tf.Tensor:
    """A Python number through `keras.ops.cast`: TensorFlow makes it float32 first, also on its way to float64."""
    return tf.cast(tf.cast(constant, tf.float32), constant.dtype)


class AdamOptimizer:
    """`keras.optimizers.Adam`; slots are the moments m and v."""

    slots = 2

    def __init__(self, spec: Adam) -> None:
        self._spec = spec

    def hyperparameters(self) -> npt.NDArray[np.float64]:
        """learning_rate, beta_1, beta_2, epsilon."""
        spec = self._spec
        return np.array([spec.learning_rate, spec.beta_1, spec.beta_2, spec.epsilon])

    def update(
        self, gradient: tf.Tensor, slots: tuple[tf.Tensor, ...], step: tf.Tensor, hyperparameters: tf.Tensor
    ) -> Update:
        """Kingma and Ba 2015, section 2, the efficient order of computation."""
        rate, beta_1, beta_2, epsilon = tf.unstack(hyperparameters)
        m, v = slots
        rate *= tf.sqrt(1 - _as_keras_casts(beta_2) ** step) / (1 - _as_keras_casts(beta_1) ** step)

        def cast(scalar: tf.Tensor) -> tf.Tensor:
            return tf.cast(scalar, gradient.dtype)

        m += (gradient - m) * cast(1 - beta_1)
        v += (tf.square(gradient) - v) * cast(1 - beta_2)
        return Update(-(m * cast(rate)) / (tf.sqrt(v) + cast(epsilon)), (m, v))


class SgdOptimizer:
    """`keras.optimizers.SGD`; the slot is the velocity."""

    slots = 1

    def __init__(self, spec: Sgd) -> None:
        self._spec = spec

    def hyperparameters(self) -> npt.NDArray[np.float64]:
        """learning_rate, momentum."""
        return np.array([self._spec.learning_rate, self._spec.momentum])

    def update(
        self, gradient: tf.Tensor, slots: tuple[tf.Tensor, ...], step: tf.Tensor, hyperparameters: tf.Tensor
    ) -> Update:
        """Velocity ← momentum · velocity − learning_rate · gradient, added to the weights."""
        del step
        rate, momentum = tf.unstack(hyperparameters)
        momentum = tf.cast(_as_keras_casts(momentum), gradient.dtype)
        velocity = slots[0] * momentum - gradient * tf.cast(rate, gradient.dtype)
        return Update(velocity, (velocity,))


def optimizer_for(spec: OptimizerSpec) -> Optimizer:
    """The update rule that a spec names."""
    return AdamOptimizer(spec) if isinstance(spec, Adam) else SgdOptimizer(spec)
