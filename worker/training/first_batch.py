"""The batch of step 0 with its output errors, by which theory is told what a run's data and labels are.

A forward pass of its own, layer by layer: an extra output of the compiled program might change its last bits, and a
second program would cost an architecture that was not seen before 60 to 150 ms (docs/decisions/0014). Layers here are
those that a perceptron is made of.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import keras
import numpy as np
import numpy.typing as npt
import tensorflow as tf

from service.contract.network.graph import INPUT
from service.contract.network.layer import Layer
from service.contract.network.layers import Activation, BatchNormalization, Dense, Dropout, LayerNormalization
from service.contract.network.reshaping import Add, Flatten, Rescaling
from service.contract.plan import Plan
from worker.training.losses import output_errors

Floats = npt.NDArray[np.floating]


@dataclass(frozen=True)
class FirstBatch:
    """What the network reads at step 0, and how wrong it is there."""

    rows: Floats  # [batch, …], after scaling and in the run's order
    errors: Floats  # [batch, outputs], batch · ∂loss/∂logits


def first_batch_of(
    plan: Plan, values: Sequence[Floats], noise: Sequence[int], rows: Floats, labels: npt.NDArray[np.generic], xla: bool
) -> FirstBatch:
    """The first batch of a perceptron with these initial values and noise seeds, both from input to output.

    `xla` says whether the run is compiled with it, for XLA draws other random numbers.
    """
    with np.errstate(all="ignore"):  # what explodes is a finding
        outputs = _Pass(iter(values), iter(noise), xla).outputs(plan, rows)
        return FirstBatch(rows, output_errors(plan.objective, labels, outputs))


class _Pass:
    """A forward pass in training mode: by the batch's own moments, and with the dropout of step 0."""

    def __init__(self, values: Iterator[Floats], noise: Iterator[int], xla: bool) -> None:
        self._values = values
        self._noise = noise
        self._dropped = _dropped_by_xla if xla else _dropped

    def outputs(self, plan: Plan, rows: Floats) -> Floats:
        """[batch, outputs]."""
        found = {INPUT: rows}
        for node in plan.network.nodes:
            found[node.name] = self._output(node.layer, [found[name] for name in node.inputs])
        return found[plan.network.output]

    def _output(self, layer: Layer, given: Sequence[Floats]) -> Floats:
        x = given[0]
        match layer:
            case Dense():
                made = x @ next(self._values)
                return _activated(made + next(self._values) if layer.use_bias else made, layer.activation)
            case Activation():
                return _activated(x, layer.activation)
            case BatchNormalization() | LayerNormalization():
                axis = 0 if isinstance(layer, BatchNormalization) else -1
                deviation = np.sqrt(x.var(axis, keepdims=True) + x.dtype.type(layer.epsilon))
                gamma, beta = next(self._values), next(self._values)
                return np.asarray((x - x.mean(axis, keepdims=True)) / deviation * gamma + beta)
            case Dropout():
                seed = tf.constant([next(self._noise), 0], tf.int32)
                return np.asarray(self._dropped(tf.constant(x), layer.rate, seed))
            case Flatten():
                return x.reshape(len(x), -1)
            case Rescaling():
                return x * x.dtype.type(layer.scale) + x.dtype.type(layer.offset)
            case Add():
                return given[0] + given[1]
        raise TypeError(f"a perceptron has no {type(layer).__name__}")


def _activated(x: Floats, name: str) -> Floats:
    return x if name == "linear" else np.asarray(keras.activations.get(name)(tf.constant(x)))


def _dropped(x: tf.Tensor, rate: float, seed: tf.Tensor) -> tf.Tensor:
    """As `keras.random.dropout` does it."""
    return tf.nn.experimental.stateless_dropout(x, rate, seed, noise_shape=x.shape)


_dropped_by_xla = tf.function(_dropped, jit_compile=True, autograph=False)
