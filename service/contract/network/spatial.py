"""Layers over sequences [steps, channels] and images [height, width, channels]: convolution, pooling, padding."""

import math
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BeforeValidator, Field

from service.contract.network.initializers import Fixed, Initializer, Scaled
from service.contract.network.layer import ActivationName, ChannelsLast, Layer, Shape, ShapeMismatch, Size, of_rank
from service.contract.spec_part import MAX_INTEGER

MEANINGS = {1: "[steps, channels]", 2: "[height, width, channels]"}
WIDEST = 2_048  # of a window or a stride that reaches beyond its input: padding takes memory that no output shows


def _listed(value: Any) -> Any:
    return (value,) if isinstance(value, int) and not isinstance(value, bool) else value


def _listed_twice(value: Any) -> Any:
    return (value, value) if isinstance(value, int) and not isinstance(value, bool) else value


One = Annotated[tuple[Size], Field(strict=False), BeforeValidator(_listed)]
Two = Annotated[tuple[Size, Size], Field(strict=False), BeforeValidator(_listed_twice)]
Spacing = Annotated[int, Field(ge=1, le=WIDEST)]
OneSpacing = Annotated[tuple[Spacing], Field(strict=False), BeforeValidator(_listed)]
TwoSpacings = Annotated[tuple[Spacing, Spacing], Field(strict=False), BeforeValidator(_listed_twice)]
Edge = Annotated[int, Field(ge=0, le=MAX_INTEGER)]
Edges = Annotated[tuple[Edge, Edge], Field(strict=False), BeforeValidator(_listed_twice)]


def _windows(size: int, window: int, stride: int, padding: str) -> int:
    """How many windows fit along a dimension; 0 or less where none does."""
    return -(-size // stride) if padding in ("same", "causal") else (size - window) // stride + 1


class _Windowed(Layer):
    rank: ClassVar[int]
    data_format: ChannelsLast = "channels_last"

    def _places(
        self, inputs: tuple[Shape, ...], windows: tuple[int, ...], strides: tuple[int, ...], padding: str
    ) -> Shape:
        *sizes, channels = of_rank(inputs, self.rank + 1, MEANINGS[self.rank])
        if any(max(w, s) > max(n, WIDEST) for n, w, s in zip(sizes, windows, strides, strict=True)):
            raise ShapeMismatch(f"its window {list(windows)} by steps of {list(strides)} is too wide for {sizes}")
        places = [_windows(n, w, s, padding) for n, w, s in zip(sizes, windows, strides, strict=True)]
        if min(places) < 1:
            raise ShapeMismatch(f"its window {list(windows)} is larger than its input {sizes}")
        return (*places, channels)


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
        """[places, filters]."""
        if max(self.strides) > 1 and max(self.dilation_rate) > 1:
            raise ShapeMismatch("strides and dilation_rate cannot both be larger than 1")
        return (*self._places(inputs, self._extents, self.strides, self.padding)[:-1], self.filters)

    def values(self, *inputs: Shape) -> int:
        """The output, and the input as padded where TensorFlow makes a copy of it."""
        made = super().values(*inputs)
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
        """Kernel [window, channels, filters] and bias [filters]."""
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
        """[places, channels]."""
        return self._places(inputs, self.pool_size, self.strides or self.pool_size, self.padding)


class _Pooling1D(_Pooling):
    rank: ClassVar[int] = 1
    pool_size: One = (2,)
    strides: One | None = None


class _Pooling2D(_Pooling):
    rank: ClassVar[int] = 2
    pool_size: Two = (2, 2)
    strides: Two | None = None


class MaxPooling1D(_Pooling1D):
    """The largest of each window."""


class AveragePooling1D(_Pooling1D):
    """The mean of each window."""


class MaxPooling2D(_Pooling2D):
    """The largest of each window."""


class AveragePooling2D(_Pooling2D):
    """The mean of each window."""


class _GlobalPooling(_Windowed):
    keepdims: bool = False

    def output_shape(self, *inputs: Shape) -> Shape:
        """[channels], or 1 at each place before them."""
        channels = of_rank(inputs, self.rank + 1, MEANINGS[self.rank])[-1]
        return (*([1] * self.rank if self.keepdims else []), channels)


class GlobalMaxPooling1D(_GlobalPooling):
    """The largest of each channel."""

    rank: ClassVar[int] = 1


class GlobalAveragePooling1D(_GlobalPooling):
    """The mean of each channel."""

    rank: ClassVar[int] = 1


class GlobalMaxPooling2D(_GlobalPooling):
    """The largest of each channel."""

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
        """[more steps, channels]."""
        steps, channels = of_rank(inputs, 2, MEANINGS[1])
        return (steps + sum(self.padding), channels)


class ZeroPadding2D(Layer):
    """Zeros around an image."""

    padding: Annotated[tuple[Edges, Edges], Field(strict=False), BeforeValidator(_listed_twice)] = ((1, 1), (1, 1))
    data_format: ChannelsLast = "channels_last"

    def output_shape(self, *inputs: Shape) -> Shape:
        """[higher, wider, channels]."""
        height, width, channels = of_rank(inputs, 3, MEANINGS[2])
        return (height + sum(self.padding[0]), width + sum(self.padding[1]), channels)


class UpSampling1D(Layer):
    """Each step `size` times."""

    size: Size = 2

    def output_shape(self, *inputs: Shape) -> Shape:
        """[more steps, channels]."""
        steps, channels = of_rank(inputs, 2, MEANINGS[1])
        return (steps * self.size, channels)


class UpSampling2D(Layer):
    """Each row and column `size` times."""

    size: Two = (2, 2)
    data_format: ChannelsLast = "channels_last"
    interpolation: Literal["nearest"] = "nearest"

    def output_shape(self, *inputs: Shape) -> Shape:
        """[higher, wider, channels]."""
        height, width, channels = of_rank(inputs, 3, MEANINGS[2])
        return (height * self.size[0], width * self.size[1], channels)
