"""The batch of step 0 with its output errors, from which theory takes the data and labels of a run.

The errors come from a forward pass in NumPy, layer by layer. An additional output of the compiled program could change
its last bits, and a second program would take 60 to 150 ms per new architecture (docs/decisions/0014). The pass knows
the layers of perceptrons only.
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
class RecordedFirstBatch:
    """The inputs of step 0, and the errors of the untrained network on them, in the precision of the plan."""

    inputs: Floats  # [samples, …], after scaling and in the order of the run
    errors: Floats  # [samples, output units], ∂loss/∂logits of each sample


def first_batch_of(
    plan: Plan,
    values: Sequence[Floats],
    noise: Sequence[int],
    inputs: Floats,
    labels: npt.NDArray[np.generic],
    xla: bool,
) -> RecordedFirstBatch:
    """Compute the output errors of a perceptron on the batch of step 0.

    Args:
        plan: A plan of a perceptron.
        values: Initial values of the trainable variables, from input to output.
        noise: Seed of each dropout layer, from input to output.
        inputs: Inputs of the batch [samples, …].
        labels: Class indices [samples] or regression targets [samples, units].
        xla: Whether the run is compiled with XLA, which draws other random numbers than graph mode.

    Returns:
        The batch and its errors, which agree with those of the compiled program to rounding. Values that overflow
        become infinite or NaN.

    Raises:
        TypeError: If the network contains a layer that no perceptron contains.
    """
    with np.errstate(all="ignore"):  # a forward pass that overflows is a result worth recording
        outputs = _ForwardPass(iter(values), iter(noise), xla).outputs(plan, inputs)
        return RecordedFirstBatch(inputs, output_errors(plan.objective, labels, outputs))


class _ForwardPass:
    """A forward pass in training mode: with the moments of the batch, and with the dropout masks of step 0."""

    def __init__(self, values: Iterator[Floats], noise: Iterator[int], xla: bool) -> None:
        self._values = values
        self._noise = noise
        self._dropout = _dropout_by_xla if xla else _dropout

    def outputs(self, plan: Plan, inputs: Floats) -> Floats:
        """Compute the output [samples, output units] for inputs [samples, …]."""
        found = {INPUT: inputs}
        for node in plan.network.nodes:
            found[node.name] = self._output(node.layer, [found[name] for name in node.inputs])
        return found[plan.network.output]

    def _output(self, layer: Layer, inputs: Sequence[Floats]) -> Floats:
        x = inputs[0]
        match layer:
            case Dense():
                product = x @ next(self._values)
                return _activated(product + next(self._values) if layer.use_bias else product, layer.activation)
            case Activation():
                return _activated(x, layer.activation)
            case BatchNormalization() | LayerNormalization():
                # Over the batch (Ioffe and Szegedy 2015), or over the units of each sample (Ba et al. 2016).
                axis = 0 if isinstance(layer, BatchNormalization) else -1
                deviation = np.sqrt(x.var(axis, keepdims=True) + x.dtype.type(layer.epsilon))
                gamma, beta = next(self._values), next(self._values)
                return np.asarray((x - x.mean(axis, keepdims=True)) / deviation * gamma + beta)
            case Dropout():
                seed = tf.constant([next(self._noise), 0], tf.int32)
                return np.asarray(self._dropout(tf.constant(x), layer.rate, seed))
            case Flatten():
                return x.reshape(len(x), -1)
            case Rescaling():
                return x * x.dtype.type(layer.scale) + x.dtype.type(layer.offset)
            case Add():
                return inputs[0] + inputs[1]
        raise TypeError(f"a perceptron has no {type(layer).__name__}")


def _activated(x: Floats, name: str) -> Floats:
    return x if name == "linear" else np.asarray(keras.activations.get(name)(tf.constant(x)))


def _dropout(x: tf.Tensor, rate: float, seed: tf.Tensor) -> tf.Tensor:
    """Drop entries as `keras.random.dropout` does (`keras/src/backend/tensorflow/random.py`)."""
    return tf.nn.experimental.stateless_dropout(x, rate, seed, noise_shape=x.shape)


_dropout_by_xla = tf.function(_dropout, jit_compile=True, autograph=False)
