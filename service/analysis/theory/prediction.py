"""What theory says of a network before its first step."""

from dataclasses import dataclass
from typing import Literal


class NoTheory(ValueError):
    """Theory does not reach this network; the message says why in a sentence."""


@dataclass(frozen=True)
class LayerPrediction:
    """The gradient of one variable at step 0."""

    name: str  # as in the plan's variables: dense_3/kernel
    layer: str
    depth: int
    role: str  # kernel, bias, gamma or beta
    log10_norm: float  # expected log10 of the Frobenius norm of the batch-mean gradient
    spread: float  # one standard deviation of it over seeds at this width, decades


@dataclass(frozen=True)
class Phase:
    """Where equal layers lead to (Schoenholz et al. 2017); depth scales in layers, None where they are infinite."""

    name: Literal["ordered", "critical", "chaotic"]
    q_star: float | None  # variance of the pre-activations at the fixed point; None where it vanishes or grows
    chi_1: float | None  # mean squared singular value of a layer's Jacobian there
    c_star: float | None  # correlation that any two inputs end at
    xi_q: float | None  # depth scale of the variance
    xi_c: float | None  # depth scale of the correlation


@dataclass(frozen=True)
class Prediction:
    """The profile at step 0, and how far to trust it."""

    form: Literal["a_priori", "conditional"]
    slope: float | None  # decades a layer, as service.analysis.profile.slope
    level: float | None  # mean log10 norm of the hidden kernels
    layers: tuple[LayerPrediction, ...]  # from input to output
    phase: Phase | None
    caveats: tuple[str, ...]
