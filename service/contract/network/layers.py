"""Layers that compute with units: dense ones, activations, normalization and noise.

Fields are those of the Keras layer of the same name, so that its constructor takes them as they are.
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
    """x W + b over the last dimension, and an activation."""

    units: Size
    activation: ActivationName = "linear"
    use_bias: bool = True
    kernel_initializer: Initializer = Scaled(name="glorot_uniform")
    bias_initializer: Initializer = Fixed(name="zeros")

    has_kernel: ClassVar[bool] = True

    def output_shape(self, *inputs: Shape) -> Shape:
        """[…, units]."""
        return (*only(inputs)[:-1], self.units)

    def variables(self, *inputs: Shape) -> tuple[tuple[str, Shape], ...]:
        """Kernel [fan-in, units] and bias [units]."""
        return (("kernel", (only(inputs)[-1], self.units)), *([("bias", (self.units,))] if self.use_bias else []))


class Embedding(Layer):
    """A vector for each of `input_dim` whole numbers."""

    input_dim: Size
    output_dim: Size
    embeddings_initializer: Initializer = Uniform(name="uniform")
    mask_zero: Literal[False] = False

    has_kernel: ClassVar[bool] = True

    def output_shape(self, *inputs: Shape) -> Shape:
        """[…, output_dim]."""
        shape = only(inputs)
        if len(shape) >= MAX_DIMENSIONS:
            raise ShapeMismatch(f"takes rows of whole numbers, not of shape {list(shape)}")
        return (*shape, self.output_dim)

    def variables(self, *inputs: Shape) -> tuple[tuple[str, Shape], ...]:
        """Embeddings [input_dim, output_dim]."""
        del inputs
        return (("embeddings", (self.input_dim, self.output_dim)),)


# -------------------------------------------------------------------------------------------------- activations


class Activation(Layer):
    """An activation by its name."""

    activation: ActivationName


class ReLU(Layer):
    """max(x, 0), with a slope below the threshold and a maximum."""

    max_value: float | None = Field(None, ge=0, le=LARGEST)
    negative_slope: float = Field(0.0, ge=0, le=LARGEST)
    threshold: float = Field(0.0, ge=0, le=LARGEST)


class LeakyReLU(Layer):
    """x, or `negative_slope` · x below 0."""

    negative_slope: float = Field(0.3, ge=0, le=LARGEST)


class ELU(Layer):
    """x, or alpha · (e^x − 1) below 0."""

    alpha: Real = 1.0


class PReLU(Layer):
    """x, or alpha · x below 0, with an alpha for each unit that is learnt (He et al. 2015)."""

    alpha_initializer: Initializer = Fixed(name="zeros")
    shared_axes: Annotated[tuple[Size, ...] | None, Field(strict=False)] = None

    def output_shape(self, *inputs: Shape) -> Shape:
        """As the input."""
        shape = only(inputs)
        for axis in self.shared_axes or ():
            if axis > len(shape):
                raise ShapeMismatch(f"shared_axes: there is no axis {axis}")
        return shape

    def variables(self, *inputs: Shape) -> tuple[tuple[str, Shape], ...]:
        """Alpha, as one sample, 1 where an axis shares it."""
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
        """As the input."""
        shape = only(inputs)
        if self.axis not in (-1, len(shape)):
            raise ShapeMismatch(f"axis: only the last one is normalized here, not {self.axis}")
        return shape

    def variables(self, *inputs: Shape) -> tuple[tuple[str, Shape], ...]:
        """Gamma and beta, one entry a unit."""
        units = (only(inputs)[-1],)
        return (*([("gamma", units)] if self.scale else []), *([("beta", units)] if self.center else []))


class BatchNormalization(_Normalization):
    """Ioffe and Szegedy 2015, over the batch and all places of the last axis."""

    momentum: Part = 0.99
    moving_mean_initializer: Initializer = Fixed(name="zeros")
    moving_variance_initializer: Initializer = Fixed(name="ones")
    synchronized: Literal[False] = False
    renorm: Literal[False] = False
    renorm_clipping: None = None
    renorm_momentum: Part = 0.99

    def arguments(self) -> dict[str, Any]:
        """Without what is off."""
        return {n: v for n, v in super().arguments().items() if not n.startswith(("renorm", "synchronized"))}


class LayerNormalization(_Normalization):
    """Ba, Kiros and Hinton 2016, over the last axis."""

    rms_scaling: Literal[False] = False


class GroupNormalization(_Normalization):
    """Wu and He 2018."""

    groups: int = Field(32, ge=-1, le=MAX_INTEGER)

    def output_shape(self, *inputs: Shape) -> Shape:
        """As the input."""
        units = super().output_shape(*inputs)[-1]
        if self.groups == 0 or units % self.groups:
            raise ShapeMismatch(f"groups: {units} units cannot be cut into {self.groups} equal groups")
        return only(inputs)


class UnitNormalization(Layer):
    """Each row to length 1."""

    axis: Literal[-1] = -1


# -------------------------------------------------------------------------------------------------- noise


class _Noise(Layer):
    seed: int | None = Field(None, ge=0, lt=2**31)


class Dropout(_Noise):
    """Srivastava et al. 2014."""

    rate: Part
    noise_shape: None = None


class AlphaDropout(Dropout):
    """Klambauer et al. 2017: keeps mean and variance, for SELU."""


class GaussianDropout(_Noise):
    """Times N(1, rate / (1 − rate))."""

    rate: Part


class GaussianNoise(_Noise):
    """Plus N(0, stddev²)."""

    stddev: float = Field(ge=0, le=1)


class SpatialDropout1D(_Noise):
    """Drops whole channels of a sequence."""

    rate: Part

    def output_shape(self, *inputs: Shape) -> Shape:
        """As the input."""
        return of_rank(inputs, 2, "[steps, channels]")


class SpatialDropout2D(_Noise):
    """Drops whole channels of an image."""

    rate: Part
    data_format: ChannelsLast = "channels_last"

    def output_shape(self, *inputs: Shape) -> Shape:
        """As the input."""
        return of_rank(inputs, 3, "[height, width, channels]")
