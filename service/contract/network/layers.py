"""Dense layers, embeddings, activations, normalization and noise.

Each class has the fields of the Keras layer with the same name.
"""

from typing import Annotated, Any, ClassVar, Literal

from pydantic import BeforeValidator, Field

from service.contract.network.initializers import LARGEST, Fixed, Initializer, Real, Scaled, Uniform
from service.contract.network.layer import (
    MAX_DIMENSIONS,
    ActivationName,
    ChannelsLast,
    Layer,
    Part,
    Shape,
    ShapeMismatch,
    Size,
    of_rank,
    only,
)
from service.contract.spec_part import MAX_INTEGER

# -------------------------------------------------------------------------------------------------- dense


class Dense(Layer):
    """activation(x W + b) over the last dimension."""

    units: Size
    activation: ActivationName = "linear"
    use_bias: bool = True
    kernel_initializer: Initializer = Scaled(name="glorot_uniform")
    bias_initializer: Initializer = Fixed(name="zeros")

    has_kernel: ClassVar[bool] = True

    def output_shape(self, *inputs: Shape) -> Shape:
        """Return [..., units]."""
        return (*only(inputs)[:-1], self.units)

    def variables(self, *inputs: Shape) -> tuple[tuple[str, Shape], ...]:
        """Return kernel [fan-in, units] and bias [units]."""
        return (("kernel", (only(inputs)[-1], self.units)), *([("bias", (self.units,))] if self.use_bias else []))


class Embedding(Layer):
    """A trainable vector for each of the integers from 0 to `input_dim` − 1."""

    input_dim: Size
    output_dim: Size
    embeddings_initializer: Initializer = Uniform(name="uniform")
    mask_zero: Literal[False] = False

    has_kernel: ClassVar[bool] = True

    def output_shape(self, *inputs: Shape) -> Shape:
        """Return [..., output_dim]."""
        shape = only(inputs)
        if len(shape) >= MAX_DIMENSIONS:
            raise ShapeMismatch(
                f"takes samples of integers with at most {MAX_DIMENSIONS - 1} dimensions, not of shape {list(shape)}"
            )
        return (*shape, self.output_dim)

    def variables(self, *inputs: Shape) -> tuple[tuple[str, Shape], ...]:
        """Return embeddings [input_dim, output_dim]."""
        del inputs
        return (("embeddings", (self.input_dim, self.output_dim)),)


# -------------------------------------------------------------------------------------------------- activations


class Activation(Layer):
    """An activation given by its Keras name."""

    activation: ActivationName


class ReLU(Layer):
    """max(x, 0) with an optional maximum, threshold, and slope below the threshold."""

    max_value: float | None = Field(None, ge=0, le=LARGEST)
    negative_slope: float = Field(0.0, ge=0, le=LARGEST)
    threshold: float = Field(0.0, ge=0, le=LARGEST)


class LeakyReLU(Layer):
    """x for x ≥ 0, `negative_slope` · x below."""

    negative_slope: float = Field(0.3, ge=0, le=LARGEST)


class ELU(Layer):
    """x for x ≥ 0, alpha · (e^x − 1) below."""

    alpha: Real = 1.0


class PReLU(Layer):
    """x for x ≥ 0, alpha · x below, with one trainable alpha per unit (He et al. 2015)."""

    alpha_initializer: Initializer = Fixed(name="zeros")
    shared_axes: Annotated[tuple[Size, ...] | None, Field(strict=False)] = None

    def output_shape(self, *inputs: Shape) -> Shape:
        """Return the shape of the input."""
        shape = only(inputs)
        for axis in self.shared_axes or ():
            if axis > len(shape):
                raise ShapeMismatch(f"has shared_axes {axis}, but the axes of its input are 1 to {len(shape)}")
        return shape

    def variables(self, *inputs: Shape) -> tuple[tuple[str, Shape], ...]:
        """Return alpha with the shape of a sample, and size 1 along shared axes."""
        shape = list(only(inputs))
        for axis in self.shared_axes or ():
            shape[axis - 1] = 1
        return (("alpha", tuple(shape)),)


class Softmax(Layer):
    """Softmax over the last axis."""

    axis: Literal[-1] = -1


# -------------------------------------------------------------------------------------------------- normalization


def _only_entry(value: Any) -> Any:
    return value[0] if isinstance(value, list) and len(value) == 1 else value


class _Normalization(Layer):
    axis: Annotated[int, BeforeValidator(_only_entry)] = -1
    epsilon: float = Field(0.001, gt=0, le=LARGEST)
    center: bool = True
    scale: bool = True
    beta_initializer: Initializer = Fixed(name="zeros")
    gamma_initializer: Initializer = Fixed(name="ones")

    def output_shape(self, *inputs: Shape) -> Shape:
        """Return the shape of the input."""
        shape = only(inputs)
        if self.axis not in (-1, len(shape)):
            raise ShapeMismatch(f"has axis {self.axis}; gradflow normalizes the last axis only: write -1")
        return shape

    def variables(self, *inputs: Shape) -> tuple[tuple[str, Shape], ...]:
        """Return gamma [units] and beta [units]."""
        units = (only(inputs)[-1],)
        return (*([("gamma", units)] if self.scale else []), *([("beta", units)] if self.center else []))


class BatchNormalization(_Normalization):
    """Ioffe and Szegedy 2015: mean and variance over all axes but the last."""

    momentum: Part = 0.99
    moving_mean_initializer: Initializer = Fixed(name="zeros")
    moving_variance_initializer: Initializer = Fixed(name="ones")
    synchronized: Literal[False] = False
    renorm: Literal[False] = False
    renorm_clipping: None = None
    renorm_momentum: Part = 0.99

    def arguments(self) -> dict[str, Any]:
        """Return the arguments without the options that gradflow does not support."""
        return {n: v for n, v in super().arguments().items() if not n.startswith(("renorm", "synchronized"))}


class LayerNormalization(_Normalization):
    """Ba, Kiros and Hinton 2016: mean and variance over the last axis."""

    rms_scaling: Literal[False] = False


class GroupNormalization(_Normalization):
    """Wu and He 2018."""

    groups: int = Field(32, ge=-1, le=MAX_INTEGER)

    def output_shape(self, *inputs: Shape) -> Shape:
        """Return the shape of the input."""
        units = super().output_shape(*inputs)[-1]
        if self.groups == 0 or units % self.groups:
            raise ShapeMismatch(f"has groups {self.groups}, which does not divide {units} units")
        return only(inputs)


class UnitNormalization(Layer):
    """Scales each vector along the last axis to length 1."""

    axis: Literal[-1] = -1


# -------------------------------------------------------------------------------------------------- noise


class _Noise(Layer):
    seed: int | None = Field(None, ge=0, lt=2**31)


class Dropout(_Noise):
    """Srivastava et al. 2014."""

    rate: Part
    noise_shape: None = None


class AlphaDropout(Dropout):
    """Klambauer et al. 2017: dropout that keeps mean and variance, for use with SELU."""


class GaussianDropout(_Noise):
    """Multiplies by N(1, rate / (1 − rate))."""

    rate: Part


class GaussianNoise(_Noise):
    """Adds N(0, stddev²)."""

    stddev: float = Field(ge=0, le=1)


class SpatialDropout1D(_Noise):
    """Drops whole channels of a sequence."""

    rate: Part

    def output_shape(self, *inputs: Shape) -> Shape:
        """Return the shape of the input."""
        return of_rank(inputs, 2, "[steps, channels]")


class SpatialDropout2D(_Noise):
    """Drops whole channels of an image."""

    rate: Part
    data_format: ChannelsLast = "channels_last"

    def output_shape(self, *inputs: Shape) -> Shape:
        """Return the shape of the input."""
        return of_rank(inputs, 3, "[height, width, channels]")
