"""Mean-field recursion of a single input in closed form: a millisecond instead of the whole theory, for warnings."""

import math
from dataclasses import dataclass

import numpy as np

from service.analysis.theory.activations import Array
from service.analysis.theory.batch_normalization import EPSILON
from service.analysis.theory.data_moments import SampleMoments
from service.analysis.theory.gaussian import Moments, single_moments
from service.analysis.theory.layer_maps import LAYER_EPSILON, Dense
from service.analysis.theory.perceptron import Perceptron


@dataclass(frozen=True)
class SingleInputRecursion:
    """Variances and gradients of a single input in each hidden layer, from input to output."""

    variances: Array  # [hidden], variance of the input of each activation
    kernels: Array  # [hidden], log10 of the kernel's squared gradient norm, for an output error of 1
    active: Array  # [hidden], expected number of active units in a plain ReLU layer; all units in other layers

    @property
    def dead_layer(self) -> int | None:
        """Index of the first layer with less than one expected active unit; None if there is none."""
        dead = np.flatnonzero(self.active < 1)
        return int(dead[0]) if len(dead) else None


@dataclass(frozen=True)
class _Hidden:
    """Moments after the activation of a hidden layer, and the factor of its backward pass."""

    variance: float  # variance of the activation's input
    mean: float  # mean of the output over units
    square: float  # mean square of the output over units
    shared: float  # mean product of the outputs of two samples
    back: float  # factor from the squared gradient at the layer's output to that at the output of its dense layer


def single_input_recursion(network: Perceptron, samples: SampleMoments) -> SingleInputRecursion:
    """Run the recursion of `layer_maps` for a single input.

    Batch normalization is approximated by that of a large batch of unrelated samples.

    Args:
        network: the network.
        samples: moments of the inputs.
    """
    model, alpha = network.model, network.scale
    residual = model.residual
    mean, square, shared = 0.0, samples.square, samples.product
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
            linear = dense.gain * square + dense.bias_variance + dense.bias_mean**2
            linear_shared = dense.gain * shared + dense.bias_variance + dense.bias_mean**2
            if residual == "pre_activation":
                made = _Hidden(linear, dense.bias_mean, linear, linear_shared, 1.0)
            else:
                made = _activated(network, linear, dense.bias_mean, linear_shared)
            block, block_mean, block_shared = made.square, made.mean, made.shared
        hidden.append(made)
        if adds:
            square += 2 * alpha * mean * block_mean + alpha**2 * block
            shared += 2 * alpha * mean * block_mean + alpha**2 * block_shared
            mean += alpha * block_mean
        else:
            mean, square, shared = block_mean, block, block_shared
    variances = np.array([layer.variance for layer in hidden])
    return SingleInputRecursion(variances, _backward(network, inputs, hidden), _active(network, variances))


def _active(network: Perceptron, variances: Array) -> Array:
    """Expected number of active units of each hidden layer [hidden]."""
    units = np.array([dense.fan_out for dense in network.hidden], np.float64)
    model = network.model
    if network.activation.name != "relu" or model.normalization != "none" or model.residual != "none":
        return units
    centers = np.array([dense.bias_mean for dense in network.hidden])
    shares = [math.erfc(-center / math.sqrt(2 * v)) / 2 for center, v in zip(centers, variances, strict=True)]
    active: Array = units * np.array(shares)
    return active


def _backward(network: Perceptron, inputs: list[float], hidden: list[_Hidden]) -> Array:
    """log10 of the squared gradient norm of each hidden kernel [hidden]; `inputs` are mean squares of their inputs."""
    residual, alpha = network.model.residual, network.scale
    log10 = np.log10(_backward_gain(network.output))
    found = []
    for depth in range(len(hidden) - 1, -1, -1):
        dense, made = network.hidden[depth], hidden[depth]
        adds = residual != "none" and depth > 0
        at_dense = 1.0 if residual == "pre_activation" else made.back
        in_block = alpha**2 if adds else 1.0
        with np.errstate(divide="ignore"):
            found.append(log10 + np.log10(dense.fan_in * dense.fan_out * inputs[depth] * at_dense * in_block))
            log10 += np.log10(float(adds) + in_block * made.back * _backward_gain(dense))
    return np.array(found[::-1])


def _backward_gain(dense: Dense) -> float:
    """Factor of the squared gradient per unit in the backward pass through a dense layer."""
    return dense.fan_out * dense.weight_variance


def _activated(network: Perceptron, second: float, mean: float, shared: float) -> _Hidden:
    """The activation with its normalization, for Gaussian units with these moments."""
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
    spread = _output_variance(moments, kind)
    return _Hidden(variance, 0.0, 1.0, 0.0 if kind == "batch" else 1.0, moments.slope / spread)


def _output_variance(moments: Moments, kind: str) -> float:
    """Variance of the activations plus epsilon; over unrelated samples it equals that over units."""
    return moments.square - moments.mean**2 + (EPSILON if kind == "batch" else LAYER_EPSILON)
