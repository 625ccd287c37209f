"""The initializers of Keras with their parameters."""

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from service.contract.spec_part import SpecPart

LARGEST = 3e38  # slightly below the largest float32
Real = Annotated[float, Field(ge=-LARGEST, le=LARGEST)]

FixedName = Literal["zeros", "ones"]
ScaledName = Literal["glorot_uniform", "glorot_normal", "he_uniform", "he_normal", "lecun_uniform", "lecun_normal"]


class Fixed(SpecPart):
    """All entries are 0, or all are 1."""

    name: FixedName


class Constant(SpecPart):
    """All entries have the same value."""

    name: Literal["constant"]
    value: Real = 0.0


class Identity(SpecPart):
    """`gain` · identity matrix; for kernels of dense layers."""

    name: Literal["identity"]
    gain: Real = 1.0


class _Random(SpecPart):
    seed: int | None = Field(None, ge=0, lt=2**31, description="Default: drawn from `training.seed`.")


class Scaled(_Random):
    """Glorot and Bengio 2010, He et al. 2015, LeCun et al. 1998: the variance depends on fan-in and fan-out."""

    name: ScaledName


class VarianceScaling(_Random):
    """Variance `scale` / fan, also where the distribution is truncated."""

    name: Literal["variance_scaling"]
    scale: float = Field(1.0, gt=0, le=LARGEST)
    mode: Literal["fan_in", "fan_out", "fan_avg"] = "fan_in"
    distribution: Literal["truncated_normal", "untruncated_normal", "uniform"] = "truncated_normal"


class Normal(_Random):
    """N(mean, stddev²)."""

    name: Literal["normal", "random_normal"]
    mean: Real = 0.0
    stddev: float = Field(0.05, ge=0, le=LARGEST)


class TruncatedNormal(_Random):
    """N(mean, stddev²) truncated at two standard deviations: the variance is 0.774 stddev²."""

    name: Literal["truncated_normal"]
    mean: Real = 0.0
    stddev: float = Field(0.05, ge=0, le=LARGEST)


class Uniform(_Random):
    """Uniform between `minval` and `maxval`."""

    name: Literal["uniform", "random_uniform"]
    minval: Real = -0.05
    maxval: Real = 0.05


class Orthogonal(_Random):
    """`gain` · random orthogonal matrix (Saxe, McClelland and Ganguli 2014)."""

    name: Literal["orthogonal"]
    gain: Real = 1.0


_Initializers = Fixed | Constant | Identity | Scaled | VarianceScaling | Normal | TruncatedNormal | Uniform | Orthogonal
InitializerName = Literal[
    FixedName,
    "constant",
    "identity",
    ScaledName,
    "variance_scaling",
    "normal",
    "random_normal",
    "truncated_normal",
    "uniform",
    "random_uniform",
    "orthogonal",
]


def _from_name(value: Any) -> Any:
    return {"name": value} if isinstance(value, str) else value


Initializer = Annotated[
    Annotated[_Initializers, Field(discriminator="name")],
    BeforeValidator(_from_name, json_schema_input_type=InitializerName | _Initializers),
]

NEEDS_A_MATRIX = ("orthogonal", "identity")  # initializers from which Keras cannot draw a vector
