"""How far each layer reaches: gradients made comparable between layers, networks, losses and steps.

The gradient of a kernel is the error at the output carried back through the network, times the layer's input. Divided
by that error, its root mean square no longer depends on how well the network fits already, and times √(units) it
depends neither on the size of the layer nor on the width of the network:

    reach = RMS of the kernel's gradient · √(units) / error = gradient_norm / (√(fan-in) · error)

It is about how far the output moves where a kernel is drawn anew with the deviation 1/√(fan-in) of a sound one, and of
the order of 1 at any depth where signals neither shrink nor grow: under Glorot, He or LeCun initialization the norm of
the error's vector is kept from layer to layer (Glorot and Bengio 2010, He et al. 2015), and so is the input's RMS. The
gradient of a bias over the error is the backward signal alone, without the layer's input.
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

CONVERGED = 1e-3  # of the error that was there at most: what is left is learnt, and its gradients say nothing
Float64s = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Reach:
    """Decades of every kernel's reach and of every bias's signal, at each recorded step that is judged."""

    steps: npt.NDArray[np.int64]  # of those with a finite loss and something left to learn
    kernels: tuple[Variable, ...]
    reach: Float64s  # [kernels, steps] log10, −inf where the gradient is 0
    biases: tuple[Variable, ...]  # of biases, or betas where normalization takes the bias's place
    signal: Float64s  # [biases, steps]
    error: Float64s  # [steps]

    def at(self, chosen: Bools) -> "Reach":
        """At some of the steps only."""
        return Reach(
            self.steps[chosen],
            self.kernels,
            self.reach[:, chosen],
            self.biases,
            self.signal[:, chosen],
            self.error[chosen],
        )

    @property
    def arriving(self) -> Float64s:
        """What the output layer itself gets [steps]: at its kernel, or at its bias if that is more."""
        return np.asarray(np.concatenate([self.reach[-1:], self.signal[-1:]]).max(axis=0))

    @cached_property
    def level(self) -> Float64s:
        """Each kernel's median reach [kernels]."""
        return middle(self.reach)

    @cached_property
    def signal_level(self) -> Float64s:
        """Each bias's median signal [biases]."""
        return middle(self.signal)


def reach_of(evidence: Evidence) -> Reach:
    """From gradient norms and step losses alone."""
    rows = evidence.rows(Statistic.GRADIENT_NORM)
    error = _error(evidence)
    with np.errstate(invalid="ignore"):
        judged = np.isfinite(error) & (error > CONVERGED * np.nanmax(error, initial=0.0))
    judged &= np.isfinite(rows.values).all(axis=0)
    kernels = [i for i, variable in enumerate(rows.variables) if variable.role == "kernel"]
    biases = _signalling(evidence.plan, rows.variables)
    fan_in = np.array([math.prod(rows.variables[i].shape[:-1]) for i in kernels], np.float64)
    with np.errstate(divide="ignore"):
        norms = np.log10(np.ascontiguousarray(rows.values[:, judged], np.float64)) - np.log10(error[judged])
    return Reach(
        evidence.steps[judged],
        tuple(rows.variables[i] for i in kernels),
        norms[kernels] - np.log10(fan_in)[:, None] / 2,
        tuple(rows.variables[i] for i in biases),
        norms[biases],
        error[judged],
    )


def _error(evidence: Evidence) -> Float64s:
    """About the norm of the loss's derivative at the output, for one row, at each recorded step.

    Of a cross-entropy L it is 1 − e^(−L), the probability that the right class does not get; of a squared error 2√L, of
    an absolute one 1, of Huber's √(2L) up to 1.
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


def _signalling(plan: Plan, variables: tuple[Variable, ...]) -> list[int]:
    """One bias a layer, or the beta behind a layer whose bias normalization takes back."""
    idle = _taken_back(plan.network)
    return [
        i
        for i, variable in enumerate(variables)
        if (variable.role == "bias" and variable.layer not in idle)
        or (variable.role == "beta" and plan.network.by_name[variable.layer].inputs[0] in idle)
    ]


def _taken_back(network: Network) -> frozenset[str]:
    """Layers whose bias has no effect: batch normalization, which alone reads them, subtracts it again."""
    readers: dict[str, list[Layer]] = {}
    for node in network.nodes:
        for name in node.inputs:
            readers.setdefault(name, []).append(node.layer)
    return frozenset(
        name
        for name, read in readers.items()
        if name in network.by_name
        and (network.by_name[name].activation or "linear") == "linear"
        and all(isinstance(layer, layers.BatchNormalization) for layer in read)
    )


def middle(values: Floats) -> Float64s:
    """Each row's median over the steps; NaN where there are none."""
    if values.shape[-1] == 0:
        return np.full(values.shape[0], np.nan)
    with np.errstate(invalid="ignore"):
        return np.asarray(np.median(values, axis=-1), np.float64)


def share(mask: Bools) -> Float64s:
    """In which part of the steps it is so, row by row."""
    return np.asarray(mask.mean(axis=-1), np.float64) if mask.shape[-1] else np.zeros(mask.shape[:-1])
