"""Keras's optimizers on one flat vector: an update takes a few operations, however many layers there are.

Each rule computes what `keras/src/optimizers/` computes, tested against it (docs/decisions/0001). Hyperparameters are
float64 arguments of the compiled program, so that one program serves all their values. Weight decay is applied by
`worker.training.program`.
"""

from typing import NamedTuple, Protocol

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from service.contract.training_spec import Adagrad, Adam, OptimizerSpec, RmsProp, Sgd

Slots = tuple[tf.Tensor, ...]


class Update(NamedTuple):
    """The result of one update."""

    change: tf.Tensor  # [parameters], to be added to the weights
    slots: Slots  # after the update


class Optimizer(Protocol):
    """An update rule; each of its slots is a vector [parameters] of the weights' dtype."""

    def hyperparameters(self) -> npt.NDArray[np.float64]:
        """Return the hyperparameters that `update` takes, without the learning rate, as float64 [count]."""
        ...

    def initial_slots(self, weights: tf.Tensor) -> Slots:
        """Return the slots before the first update of `weights` [parameters]."""
        ...

    def update(
        self, gradient: tf.Tensor, slots: Slots, step: tf.Tensor, learning_rate: tf.Tensor, hyperparameters: tf.Tensor
    ) -> Update:
        """Compute one update; mutates nothing.

        Args:
            gradient: [parameters], float32 or float64.
            slots: Slots after the previous update.
            step: Number of this update, counted from 1, float64 [].
            learning_rate: float64 [].
            hyperparameters: As `hyperparameters` returns them.
        """
        ...


def _as_keras_casts(constant: tf.Tensor) -> tf.Tensor:
    """Round a float64 as `keras.ops.cast` rounds a Python number, which TensorFlow converts to float32 first."""
    return tf.cast(tf.cast(constant, tf.float32), constant.dtype)


def _zeros(weights: tf.Tensor, count: int) -> Slots:
    return tuple(tf.zeros_like(weights) for _ in range(count))


class AdamOptimizer:
    """Adam (Kingma and Ba 2015, arXiv 1412.6980), as `keras/src/optimizers/adam.py` implements it.

    The slots are the first moment m and the second moment v; with `amsgrad` (Reddi, Kale and Kumar 2018) also the
    largest v so far.
    """

    def __init__(self, spec: Adam) -> None:
        self._spec = spec

    def hyperparameters(self) -> npt.NDArray[np.float64]:
        """Return beta_1, beta_2 and epsilon."""
        spec = self._spec
        return np.array([spec.beta_1, spec.beta_2, spec.epsilon])

    def initial_slots(self, weights: tf.Tensor) -> Slots:
        """Return zeros."""
        return _zeros(weights, 3 if self._spec.amsgrad else 2)

    def update(
        self, gradient: tf.Tensor, slots: Slots, step: tf.Tensor, learning_rate: tf.Tensor, hyperparameters: tf.Tensor
    ) -> Update:
        """Compute −α_t · m_t / (√v_t + ε) with α_t = α · √(1 − β₂ᵗ) / (1 − β₁ᵗ).

        This is the efficient order of computation at the end of section 2 of Kingma and Ba. Its ε is their ε̂.
        """
        beta_1, beta_2, epsilon = tf.unstack(hyperparameters)
        m, v, *largest = slots
        learning_rate *= tf.sqrt(1 - _as_keras_casts(beta_2) ** step) / (1 - _as_keras_casts(beta_1) ** step)

        def cast(scalar: tf.Tensor) -> tf.Tensor:
            return tf.cast(scalar, gradient.dtype)

        m += (gradient - m) * cast(1 - beta_1)
        v += (tf.square(gradient) - v) * cast(1 - beta_2)
        largest = [tf.maximum(each, v) for each in largest]
        scale = largest[0] if largest else v
        return Update(-(m * cast(learning_rate)) / (tf.sqrt(scale) + cast(epsilon)), (m, v, *largest))


class SgdOptimizer:
    """Gradient descent with momentum, as `keras/src/optimizers/sgd.py` implements it; the slot is the velocity."""

    def __init__(self, spec: Sgd) -> None:
        self._spec = spec

    def hyperparameters(self) -> npt.NDArray[np.float64]:
        """Return the momentum."""
        return np.array([self._spec.momentum])

    def initial_slots(self, weights: tf.Tensor) -> Slots:
        """Return zeros."""
        return _zeros(weights, 1)

    def update(
        self, gradient: tf.Tensor, slots: Slots, step: tf.Tensor, learning_rate: tf.Tensor, hyperparameters: tf.Tensor
    ) -> Update:
        """Compute velocity ← momentum · velocity − learning_rate · gradient, which is the change of the weights.

        With `nesterov` (Sutskever, Martens, Dahl and Hinton 2013) the change is
        momentum · velocity − learning_rate · gradient, with the new velocity.
        """
        del step
        momentum = tf.cast(_as_keras_casts(hyperparameters[0]), gradient.dtype)
        descent = gradient * tf.cast(learning_rate, gradient.dtype)
        velocity = slots[0] * momentum - descent
        nesterov = self._spec.nesterov and self._spec.momentum > 0
        return Update(velocity * momentum - descent if nesterov else velocity, (velocity,))


class RmsPropOptimizer:
    """RMSprop (Tieleman and Hinton 2012, lecture 6.5), as `keras/src/optimizers/rmsprop.py` implements it.

    The slots are the mean square and the velocity; with `centered` (Graves 2013, arXiv 1308.0850) also the mean.
    """

    def __init__(self, spec: RmsProp) -> None:
        self._spec = spec

    def hyperparameters(self) -> npt.NDArray[np.float64]:
        """Return rho, the momentum and epsilon."""
        return np.array([self._spec.rho, self._spec.momentum, self._spec.epsilon])

    def initial_slots(self, weights: tf.Tensor) -> Slots:
        """Return zeros."""
        return _zeros(weights, 3 if self._spec.centered else 2)

    def update(
        self, gradient: tf.Tensor, slots: Slots, step: tf.Tensor, learning_rate: tf.Tensor, hyperparameters: tf.Tensor
    ) -> Update:
        """Divide the gradient by the root of its running mean square, plus epsilon within the root; add momentum."""
        del step
        rho, momentum, epsilon = tf.unstack(tf.cast(hyperparameters, gradient.dtype))
        mean_square, velocity, *mean = slots
        mean_square = rho * mean_square + (1 - rho) * tf.square(gradient)
        mean = [rho * each + (1 - rho) * gradient for each in mean]
        variance = mean_square - tf.square(mean[0]) if mean else mean_square
        descent = tf.cast(learning_rate, gradient.dtype) * gradient / tf.sqrt(variance + epsilon)
        velocity = momentum * velocity + descent
        return Update(-velocity, (mean_square, velocity, *mean))


class AdagradOptimizer:
    """Adagrad (Duchi, Hazan and Singer 2011), as `keras/src/optimizers/adagrad.py` implements it.

    The slot is the sum of squared gradients.
    """

    def __init__(self, spec: Adagrad) -> None:
        self._spec = spec

    def hyperparameters(self) -> npt.NDArray[np.float64]:
        """Return epsilon."""
        return np.array([self._spec.epsilon])

    def initial_slots(self, weights: tf.Tensor) -> Slots:
        """Return the initial accumulator value in every entry."""
        return (tf.fill(tf.shape(weights), tf.cast(self._spec.initial_accumulator_value, weights.dtype)),)

    def update(
        self, gradient: tf.Tensor, slots: Slots, step: tf.Tensor, learning_rate: tf.Tensor, hyperparameters: tf.Tensor
    ) -> Update:
        """Divide the gradient by the root of the sum of its squares, plus epsilon within the root."""
        del step
        total = slots[0] + tf.square(gradient)
        epsilon = tf.cast(hyperparameters[0], gradient.dtype)
        return Update(-tf.cast(learning_rate, gradient.dtype) * gradient / tf.sqrt(total + epsilon), (total,))


def optimizer_for(spec: OptimizerSpec) -> Optimizer:
    """Return the update rule that a spec names; the caller applies the spec's weight decay."""
    match spec:
        case Adam():
            return AdamOptimizer(spec)
        case Sgd():
            return SgdOptimizer(spec)
        case RmsProp():
            return RmsPropOptimizer(spec)
        case Adagrad():
            return AdagradOptimizer(spec)
