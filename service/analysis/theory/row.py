"""One row's way through a wide network, in closed form: enough for a warning, and done in a millisecond."""

import math
from dataclasses import dataclass

import numpy as np

from service.analysis.theory.activations import Array
from service.analysis.theory.batch_normalization import EPSILON
from service.analysis.theory.gaussian import Moments, single_moments
from service.analysis.theory.inputs import RowMoments
from service.analysis.theory.perceptron import Perceptron
from service.analysis.theory.stages import LAYER_EPSILON, Dense


@dataclass(frozen=True)
class Way:
    """Of a row, from input to output; the output layer last where it counts."""

    variances: Array  # [hidden], of what each activation is given
    kernels: Array  # [hidden], log10 of the kernel's squared gradient norm, for an output error of 1
    active: Array  # [hidden], units of a plain ReLU layer that are not 0 for this row; all units of others

    @property
    def dead_layer(self) -> int | None:
        """The first one of which not even one unit is active: what passes it is a matter of chance."""
        dead = np.flatnonzero(self.active < 1)
        return int(dead[0]) if len(dead) else None


@dataclass(frozen=True)
class _Hidden:
    """What a hidden layer makes of moments, and of gradients that come back."""

    variance: float  # of φ's input
    mean: float  # over units, behind it
    square: float
    shared: float  # E h_a h_b of two rows, behind it
    back: float  # what a squared gradient at its output is multiplied with, at its dense layer's output


def way_of(network: Perceptron, rows: RowMoments) -> Way:
    """The recursion of `stages` for one row; under batch normalization, for a large batch of unlike rows."""
    model, alpha = network.model, network.scale
    residual = model.residual
    mean, square, shared = 0.0, rows.square, rows.product
    inputs, hidden = [], []
    for depth, dense in enumerate(network.hidden):
        adds = residual != "none" and depth > 0
        if residual == "pre_activation" and depth > 0:
            made = _activated(network, square, mean, shared)
            inputs.append(made.square)
            block = dense.gain * made.square + dense.bias_variance + dense.bias_mean**2
            block_mean, block_shared = dense.bias_mean, dense.gain * made.shared + dense.bias_mean**2
        else:
            inputs.append(square)
            given = dense.gain * square + dense.bias_variance + dense.bias_mean**2
            between = dense.gain * shared + dense.bias_variance + dense.bias_mean**2
            if residual == "pre_activation":
                made = _Hidden(given, dense.bias_mean, given, between, 1.0)
            else:
                made = _activated(network, given, dense.bias_mean, between)
            block, block_mean, block_shared = made.square, made.mean, made.shared
        hidden.append(made)
        if adds:
            square += 2 * alpha * mean * block_mean + alpha**2 * block
            shared += 2 * alpha * mean * block_mean + alpha**2 * block_shared
            mean += alpha * block_mean
        else:
            mean, square, shared = block_mean, block, block_shared
    variances = np.array([h.variance for h in hidden])
    return Way(variances, _backward(network, inputs, hidden), _active(network, variances))


def _active(network: Perceptron, variances: Array) -> Array:
    units = np.array([dense.fan_out for dense in network.hidden], np.float64)
    model = network.model
    if network.activation.name != "relu" or model.normalization != "none" or model.residual != "none":
        return units
    centers = np.array([dense.bias_mean for dense in network.hidden])
    shares = [math.erfc(-center / math.sqrt(2 * v)) / 2 for center, v in zip(centers, variances, strict=True)]
    active: Array = units * np.array(shares)
    return active


def _backward(network: Perceptron, inputs: list[float], hidden: list[_Hidden]) -> Array:
    """log10 of every hidden kernel's squared gradient norm."""
    residual, alpha = network.model.residual, network.scale
    log10 = np.log10(_through(network.output))
    found = []
    for depth in range(len(hidden) - 1, -1, -1):
        dense, made = network.hidden[depth], hidden[depth]
        adds = residual != "none" and depth > 0
        at_dense = 1.0 if residual == "pre_activation" else made.back
        in_block = alpha**2 if adds else 1.0
        with np.errstate(divide="ignore"):
            found.append(log10 + np.log10(dense.fan_in * dense.fan_out * inputs[depth] * at_dense * in_block))
            log10 += np.log10(float(adds) + in_block * made.back * _through(dense))
    return np.array(found[::-1])


def _through(dense: Dense) -> float:
    return dense.fan_out * dense.weight_variance


def _activated(network: Perceptron, second: float, mean: float, shared: float) -> _Hidden:
    """The activation with its normalization, of Gaussian units."""
    kind, before, activation = network.model.normalization, network.normalizes_before, network.activation
    variance = max(second - mean**2, np.finfo(float).tiny)
    if kind != "none" and before:
        epsilon = EPSILON if kind == "batch" else LAYER_EPSILON
        spread = max(second - shared, 0.0) + epsilon if kind == "batch" else variance + epsilon
        moments = single_moments(activation, (spread - epsilon) / spread + 1e-12)
        both = moments.mean**2 if kind == "batch" else moments.square
        return _Hidden(1.0, moments.mean, moments.square, both, moments.slope / spread)
    moments = single_moments(activation, variance, mean)
    if kind == "none":
        return _Hidden(variance, moments.mean, moments.square, moments.square, moments.slope)
    spread = _spread(moments, kind)
    return _Hidden(variance, 0.0, 1.0, 0.0 if kind == "batch" else 1.0, moments.slope / spread)


def _spread(moments: Moments, kind: str) -> float:
    """Of the activations: over unlike rows it is what it is over units."""
    return moments.square - moments.mean**2 + (EPSILON if kind == "batch" else LAYER_EPSILON)
