"""Values of a prediction."""

from dataclasses import dataclass
from typing import Literal


class NoTheory(ValueError):
    """The theory does not cover this network; the message gives the reason as a sentence."""


@dataclass(frozen=True)
class LayerPrediction:
    """Predicted gradient norm of one variable at step 0."""

    name: str  # name of the variable in the plan, such as dense_3/kernel
    layer: str
    depth: int  # weight layers between the input and this one
    role: str  # kernel, bias, gamma or beta
    log10_norm: float  # expected log10 of the Frobenius norm of the batch-mean gradient
    spread: float  # standard deviation of log10_norm over seeds at these widths, in decades


@dataclass(frozen=True)
class Phase:
    """Fixed point of a chain of equal layers, and its stability (Schoenholz et al. 2017)."""

    name: Literal["ordered", "critical", "chaotic"]
    q_star: float | None  # variance of the pre-activations at the fixed point; None if it does not converge
    chi_1: float | None  # mean squared singular value of a layer's Jacobian there
    c_star: float | None  # correlation to which any two inputs converge
    xi_q: float | None  # depth scale of the variance, in layers; None if infinite
    xi_c: float | None  # depth scale of the correlation, in layers; None if infinite


@dataclass(frozen=True)
class Prediction:
    """Predicted profile at step 0, with its caveats."""

    form: Literal["a_priori", "conditional"]  # from the spec alone, or from the first batch too
    slope: float | None  # decades lost per layer towards the input, as service.analysis.profile.slope defines it
    level: float | None  # mean log10 norm of the hidden kernels W_2 … W_{L-1}
    layers: tuple[LayerPrediction, ...]  # from input to output
    phase: Phase | None  # None unless all hidden layers but the first are equal and plain
    caveats: tuple[str, ...]
