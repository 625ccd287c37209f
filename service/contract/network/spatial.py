"""Convolution, pooling, padding and upsampling of sequences [steps, channels] and images [height, width, channels]."""

import math
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BeforeValidator, Field

from service.contract.network.initializers import Fixed, Initializer, Scaled
from service.contract.network.layer import ActivationName, ChannelsLast, Layer, Shape, ShapeMismatch, Size, of_rank
from service.contract.spec_part import MAX_INTEGER

MEANINGS = {1: "[steps, channels]", 2: "[height, width, channels]"}
# Largest window or stride that may be larger than its input: the padding takes memory that no output shape shows.
MAX_PADDED_WINDOW = 2_048


def _one(value: Any) -> Any:
    return (value,) if isinstance(value, int) and not isinstance(value, bool) else value


def _two(value: Any) -> Any:
    return (value, value) if isinstance(value, int) and not isinstance(value, bool) else value


One = Annotated[tuple[Size], Field(strict=False), BeforeValidator(_one)]
Two = Annotated[tuple[Size, Size], Field(strict=False), BeforeValidator(_two)]
Spacing = Annotated[int, Field(ge=1, le=MAX_PADDED_WINDOW)]
OneSpacing = Annotated[tuple[Spacing], Field(strict=False), BeforeValidator(_one)]
TwoSpacings = Annotated[tuple[Spacing, Spacing], Field(strict=False), BeforeValidator(_two)]
Edge = Annotated[int, Field(ge=0, le=MAX_INTEGER)]
Edges = Annotated[tuple[Edge, Edge], Field(strict=False), BeforeValidator(_two)]


def _windows(size: int, window: int, stride: int, padding: str) -> int:
    """Return how many windows fit along a dimension; 0 or less if none fits."""
    return -(-size // stride) if padding in ("same", "causal") else (size - window) // stride + 1


class _Windowed(Layer):
    rank: ClassVar[int]
    data_format: ChannelsLast = "channels_last"

    def _window_counts(
        self, inputs: tuple[Shape, ...], windows: tuple[int, ...], strides: tuple[int, ...], padding: str
    ) -> Shape:
        *sizes, channels = of_rank(inputs, self.rank + 1, MEANINGS[self.rank])
        if any(max(w, s) > max(n, MAX_PADDED_WINDOW) for n, w, s in zip(sizes, windows, strides, strict=True)):
            raise ShapeMismatch(
                f"has a window {list(windows)} with strides {list(strides)}, which is too large for its input {sizes}"
            )
        counts = [_windows(n, w, s, padding) for n, w, s in zip(sizes, windows, strides, strict=True)]
        if min(counts) < 1:
            raise ShapeMismatch(f"has a window {list(windows)} that is larger than its input {sizes}")
        return (*counts, channels)


# -------------------------------------------------------------------------------------------------- convolution


class _Conv(_Windowed):
    filters: Size
    kernel_size: Any
    strides: Any
    dilation_rate: Any
    padding: Any
    groups: Literal[1] = 1
    activation: ActivationName = "linear"
    use_bias: bool = True
    kernel_initializer: Initializer = Scaled(name="glorot_uniform")
    bias_initializer: Initializer = Fixed(name="zeros")

    has_kernel: ClassVar[bool] = True

    def output_shape(self, *inputs: Shape) -> Shape:
        """Return [windows, filters]."""
        if max(self.strides) > 1 and max(self.dilation_rate) > 1:
            raise ShapeMismatch("has strides and dilation_rate larger than 1: one of the two must be 1")
        return (*self._window_counts(inputs, self._extents, self.strides, self.padding)[:-1], self.filters)

    def values(self, output: Shape, *inputs: Shape) -> int:
        """Return the size of the output, and of the padded input where TensorFlow copies it."""
        made = super().values(output, *inputs)
        if max(self.dilation_rate) == 1 and self.padding != "causal":
            return made
        *sizes, channels = inputs[0]
        reach = zip(sizes, self._extents, self.dilation_rate, strict=True)
        padded: int = channels * math.prod(n + w + d for n, w, d in reach)
        return made + padded

    @property
    def _extents(self) -> tuple[int, ...]:
        return tuple((k - 1) * d + 1 for k, d in zip(self.kernel_size, self.dilation_rate, strict=True))

    def variables(self, *inputs: Shape) -> tuple[tuple[str, Shape], ...]:
        """Return kernel [window, channels, filters] and bias [filters]."""
        kernel = (*self.kernel_size, inputs[0][-1], self.filters)
        return (("kernel", kernel), *([("bias", (self.filters,))] if self.use_bias else []))


class Conv1D(_Conv):
    """A convolution over a sequence."""

    rank: ClassVar[int] = 1
    kernel_size: One
    strides: One = (1,)
    dilation_rate: OneSpacing = (1,)
    padding: Literal["valid", "same", "causal"] = "valid"


class Conv2D(_Conv):
    """A convolution over an image."""

    rank: ClassVar[int] = 2
    kernel_size: Two
    strides: Two = (1, 1)
    dilation_rate: TwoSpacings = (1, 1)
    padding: Literal["valid", "same"] = "valid"


# -------------------------------------------------------------------------------------------------- pooling


class _Pooling(_Windowed):
    pool_size: Any
    strides: Any
    padding: Literal["valid", "same"] = "valid"

    def output_shape(self, *inputs: Shape) -> Shape:
        """Return [windows, channels]."""
        return self._window_counts(inputs, self.pool_size, self.strides or self.pool_size, self.padding)


class _Pooling1D(_Pooling):
    rank: ClassVar[int] = 1
    pool_size: One = (2,)
    strides: One | None = None


class _Pooling2D(_Pooling):
    rank: ClassVar[int] = 2
    pool_size: Two = (2, 2)
    strides: Two | None = None


class MaxPooling1D(_Pooling1D):
    """The maximum of each window."""


class AveragePooling1D(_Pooling1D):
    """The mean of each window."""


class MaxPooling2D(_Pooling2D):
    """The maximum of each window."""


class AveragePooling2D(_Pooling2D):
    """The mean of each window."""


class _GlobalPooling(_Windowed):
    keepdims: bool = False

    def output_shape(self, *inputs: Shape) -> Shape:
        """Return [channels], with leading sizes of 1 if `keepdims` is set."""
        channels = of_rank(inputs, self.rank + 1, MEANINGS[self.rank])[-1]
        return (*([1] * self.rank if self.keepdims else []), channels)


class GlobalMaxPooling1D(_GlobalPooling):
    """The maximum of each channel."""

    rank: ClassVar[int] = 1


class GlobalAveragePooling1D(_GlobalPooling):
    """The mean of each channel."""

    rank: ClassVar[int] = 1


class GlobalMaxPooling2D(_GlobalPooling):
    """The maximum of each channel."""

    rank: ClassVar[int] = 2


class GlobalAveragePooling2D(_GlobalPooling):
    """The mean of each channel."""

    rank: ClassVar[int] = 2


# -------------------------------------------------------------------------------------------------- resizing


class ZeroPadding1D(Layer):
    """Zeros before and after a sequence."""

    padding: Edges = (1, 1)
    data_format: ChannelsLast = "channels_last"

    def output_shape(self, *inputs: Shape) -> Shape:
        """Return [steps, channels] with more steps."""
        steps, channels = of_rank(inputs, 2, MEANINGS[1])
        return (steps + sum(self.padding), channels)


class ZeroPadding2D(Layer):
    """Zeros around an image."""

    padding: Annotated[tuple[Edges, Edges], Field(strict=False), BeforeValidator(_two)] = ((1, 1), (1, 1))
    data_format: ChannelsLast = "channels_last"

    def output_shape(self, *inputs: Shape) -> Shape:
        """Return [height, width, channels] with larger height and width."""
        height, width, channels = of_rank(inputs, 3, MEANINGS[2])
        return (height + sum(self.padding[0]), width + sum(self.padding[1]), channels)


class UpSampling1D(Layer):
    """Repeats each step `size` times."""

    size: Size = 2

    def output_shape(self, *inputs: Shape) -> Shape:
        """Return [steps, channels] with more steps."""
        steps, channels = of_rank(inputs, 2, MEANINGS[1])
        return (steps * self.size, channels)


class UpSampling2D(Layer):
    """Repeats each row and column `size` times."""

    size: Two = (2, 2)
    data_format: ChannelsLast = "channels_last"
    interpolation: Literal["nearest"] = "nearest"

    def output_shape(self, *inputs: Shape) -> Shape:
        """Return [height, width, channels] with larger height and width."""
        height, width, channels = of_rank(inputs, 3, MEANINGS[2])
        return (height * self.size[0], width * self.size[1], channels)
