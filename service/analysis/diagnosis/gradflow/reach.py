"""Reach: gradient norms made comparable between layers, networks, losses and steps.

The gradient of a kernel is the error at the output, carried back through the network, times the input of the layer.
Divided by that error, its root mean square no longer depends on how well the network already fits. Multiplied by
√(units), it depends neither on the size of the layer nor on the width of the network:

    reach = RMS of the kernel's gradient · √(units) / error = gradient_norm / (√(fan-in) · error)

Reach is about how far the output moves if a kernel is drawn again with the standard deviation 1/√(fan-in). It is of the
order of 1 at any depth if signals neither shrink nor grow: under Glorot, He or LeCun initialization the norm of the
backward signal is the same in every layer, and so is the root mean square of the layer's input (Glorot and Bengio 2010,
He et al. 2015). The gradient norm of a bias divided by the error is the backward signal alone, without the layer's
input.
"""

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from service.analysis.diagnosis.evidence import Bools, Evidence, Floats
from service.contract.network import layers
from service.contract.network.graph import Network, Variable
from service.contract.network.layer import Layer
from service.contract.plan import Plan
from service.contract.recording_spec import Statistic

CONVERGED_ERROR = 1e-3  # fraction of the largest error below which a step is not evaluated: nothing is left to learn
Float64s = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Reach:
    """Reach of every kernel and signal of every bias, in decades, at each evaluated step.

    A step is evaluated if its loss and gradients are finite and something is left to learn.
    """

    steps: npt.NDArray[np.int64]  # [steps], numbers of the evaluated steps
    kernels: tuple[Variable, ...]
    reach: Float64s  # [kernels, steps], log10; −inf where the gradient is 0
    biases: tuple[Variable, ...]  # biases, or betas of normalizations that cancel a bias
    signal: Float64s  # [biases, steps], log10 of gradient norm / error; −inf where the gradient is 0
    error: Float64s  # [steps]

    def at(self, chosen: Bools) -> "Reach":
        """A copy with the steps for which `chosen` [steps] is true."""
        return Reach(
            self.steps[chosen],
            self.kernels,
            self.reach[:, chosen],
            self.biases,
            self.signal[:, chosen],
            self.error[chosen],
        )

    @property
    def at_output(self) -> Float64s:
        """Decades at the output layer [steps]: reach of its kernel, or signal of its bias if that is larger."""
        return np.asarray(np.concatenate([self.reach[-1:], self.signal[-1:]]).max(axis=0))

    @cached_property
    def level(self) -> Float64s:
        """Median reach of each kernel over the steps [kernels]."""
        return median_over_steps(self.reach)

    @cached_property
    def signal_level(self) -> Float64s:
        """Median signal of each bias over the steps [biases]."""
        return median_over_steps(self.signal)


def reach_of(evidence: Evidence) -> Reach:
    """Compute the reach from gradient norms and step losses alone."""
    rows = evidence.rows(Statistic.GRADIENT_NORM)
    error = _error(evidence)
    with np.errstate(invalid="ignore"):
        evaluated = np.isfinite(error) & (error > CONVERGED_ERROR * np.nanmax(error, initial=0.0))
    evaluated &= np.isfinite(rows.values).all(axis=0)
    kernels = [i for i, variable in enumerate(rows.variables) if variable.role == "kernel"]
    biases = _signal_variables(evidence.plan, rows.variables)
    fan_in = np.array([math.prod(rows.variables[i].shape[:-1]) for i in kernels], np.float64)
    with np.errstate(divide="ignore"):
        norms = np.log10(np.ascontiguousarray(rows.values[:, evaluated], np.float64)) - np.log10(error[evaluated])
    return Reach(
        evidence.steps[evaluated],
        tuple(rows.variables[i] for i in kernels),
        norms[kernels] - np.log10(fan_in)[:, None] / 2,
        tuple(rows.variables[i] for i in biases),
        norms[biases],
        error[evaluated],
    )


def _error(evidence: Evidence) -> Float64s:
    """Approximate norm of the derivative of the loss with respect to the output, for one sample [recorded steps].

    For a cross-entropy L it is 1 − e^(−L), the probability that the wrong classes get; for a squared error 2√L, for an
    absolute error 1, for the Huber loss √(2L), at most 1.
    """
    loss = np.full(len(evidence.steps), np.nan)
    made = evidence.steps < len(evidence.step_loss)
    loss[made] = evidence.step_loss[evidence.steps[made]]
    with np.errstate(invalid="ignore", over="ignore"):
        match evidence.plan.objective.loss:
            case "mse":
                return np.asarray(2 * np.sqrt(loss))
            case "mae":
                return np.where(np.isfinite(loss), 1.0, np.nan)
            case "huber":
                return np.asarray(np.minimum(np.sqrt(2 * loss), 1.0))
            case _:
                return np.asarray(-np.expm1(-loss))


def _signal_variables(plan: Plan, variables: tuple[Variable, ...]) -> list[int]:
    """Indices of one bias per layer, or of the beta after a layer whose bias batch normalization cancels."""
    cancelled = _layers_with_cancelled_bias(plan.network)
    return [
        i
        for i, variable in enumerate(variables)
        if (variable.role == "bias" and variable.layer not in cancelled)
        or (variable.role == "beta" and plan.network.by_name[variable.layer].inputs[0] in cancelled)
    ]


def _layers_with_cancelled_bias(network: Network) -> frozenset[str]:
    """Linear layers that only batch normalization reads: it subtracts their bias again."""
    readers: dict[str, list[Layer]] = {}
    for node in network.nodes:
        for name in node.inputs:
            readers.setdefault(name, []).append(node.layer)
    return frozenset(
        name
        for name, read_by in readers.items()
        if name in network.by_name
        and (network.by_name[name].activation or "linear") == "linear"
        and all(isinstance(layer, layers.BatchNormalization) for layer in read_by)
    )


def median_over_steps(values: Floats) -> Float64s:
    """Median of each row of values [rows, steps]; NaN if there are no steps."""
    if values.shape[-1] == 0:
        return np.full(values.shape[0], np.nan)
    with np.errstate(invalid="ignore"):
        return np.asarray(np.median(values, axis=-1), np.float64)


def fraction_of_steps(mask: Bools) -> Float64s:
    """Fraction of the steps at which a mask [..., steps] is true; 0 if there are no steps."""
    return np.asarray(mask.mean(axis=-1), np.float64) if mask.shape[-1] else np.zeros(mask.shape[:-1])
