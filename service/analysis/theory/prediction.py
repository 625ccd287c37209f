"""Values of a prediction. The descriptions of their fields are part of the OpenAPI document."""

from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import Field


class NoTheory(ValueError):
    """The theory does not cover this network; the message gives the reason as a sentence."""


@dataclass(frozen=True)
class LayerPrediction:
    """Predicted gradient norm of one variable at step 0."""

    name: Annotated[str, Field(description="Name of the variable: `layer/role`, as in `gradients`.")]
    layer: str
    depth: Annotated[int, Field(description="Weight layers between the input and this one.")]
    role: Annotated[str, Field(description="`kernel`, `bias`, `gamma` or `beta`.")]
    log10_norm: Annotated[float, Field(description="Expected log10 of the Frobenius norm of the batch-mean gradient.")]
    spread: Annotated[
        float, Field(description="Standard deviation of `log10_norm` over seeds at these widths, in decades.")
    ]


@dataclass(frozen=True)
class Phase:
    """Fixed point of a chain of equal layers, and its stability (Schoenholz et al. 2017)."""

    name: Literal["ordered", "critical", "chaotic"]
    q_star: Annotated[
        float | None,
        Field(description="Variance of the pre-activations at the fixed point; null if it does not converge."),
    ]
    chi_1: Annotated[float | None, Field(description="Mean squared singular value of a layer's Jacobian there.")]
    c_star: Annotated[float | None, Field(description="Correlation to which any two inputs converge.")]
    xi_q: Annotated[float | None, Field(description="Depth scale of the variance, in layers; null if infinite.")]
    xi_c: Annotated[float | None, Field(description="Depth scale of the correlation, in layers; null if infinite.")]


@dataclass(frozen=True)
class Prediction:
    """Predicted profile at step 0, with its caveats."""

    form: Annotated[
        Literal["a_priori", "conditional"],
        Field(description="`conditional` uses the inputs and errors of the first batch, `a_priori` the spec alone."),
    ]
    # As service.analysis.profile.slope defines it.
    slope: Annotated[
        float | None, Field(description="Decades lost per layer towards the input, over the hidden kernels.")
    ]
    # Of the kernels W_2 … W_{L-1}.
    level: Annotated[float | None, Field(description="Mean log10 norm of the same kernels.")]
    layers: Annotated[tuple[LayerPrediction, ...], Field(description="From input to output.")]
    phase: Annotated[
        Phase | None, Field(description="Null unless all hidden layers but the first are equal and plain.")
    ]
    caveats: Annotated[tuple[str, ...], Field(description="Where the theory is known to be inexact, and by how much.")]
