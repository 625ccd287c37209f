"""Layers that only move, repeat, scale or join what they are given."""

import math
from typing import Annotated

from pydantic import Field

from service.contract.network.initializers import Real
from service.contract.network.layer import (
    MAX_DIMENSIONS,
    ChannelsLast,
    Layer,
    Shape,
    ShapeMismatch,
    Size,
    of_rank,
    only,
)
from service.contract.spec_part import MAX_INTEGER

# -------------------------------------------------------------------------------------------------- shape


class Identity(Layer):
    """What it is given."""


class Flatten(Layer):
    """All dimensions as one."""

    data_format: ChannelsLast = "channels_last"

    def output_shape(self, *inputs: Shape) -> Shape:
        """[entries]."""
        return (math.prod(only(inputs)),)


class Reshape(Layer):
    """The same entries in another shape; one dimension may be −1."""

    target_shape: Annotated[
        tuple[Annotated[int, Field(ge=-1, le=MAX_INTEGER)], ...], Field(strict=False, max_length=MAX_DIMENSIONS)
    ]

    def output_shape(self, *inputs: Shape) -> Shape:
        """The target shape."""
        entries, target = math.prod(only(inputs)), list(self.target_shape)
        known = math.prod(d for d in target if d != -1)
        if (
            not target
            or known == 0
            or target.count(-1) > 1
            or entries % known
            or (-1 not in target and entries != known)
        ):
            raise ShapeMismatch(f"target_shape: {entries} entries cannot become {target}")
        return tuple(entries // known if d == -1 else d for d in target)


class Permute(Layer):
    """Dimensions in another order, counted from 1."""

    dims: Annotated[tuple[Size, ...], Field(strict=False)]

    def output_shape(self, *inputs: Shape) -> Shape:
        """The permuted shape."""
        shape = only(inputs)
        if sorted(self.dims) != list(range(1, len(shape) + 1)):
            raise ShapeMismatch(f"dims: {list(self.dims)} is no order of the dimensions of {list(shape)}")
        return tuple(shape[d - 1] for d in self.dims)


class RepeatVector(Layer):
    """A row n times."""

    n: Size

    def output_shape(self, *inputs: Shape) -> Shape:
        """[n, features]."""
        return (self.n, *of_rank(inputs, 1, "[features]"))


class Rescaling(Layer):
    """x · scale + offset."""

    scale: Real
    offset: Real = 0.0


# -------------------------------------------------------------------------------------------------- joining


class _Merge(Layer):
    def output_shape(self, *inputs: Shape) -> Shape:
        """The common shape; a dimension of 1 is repeated."""
        if len(inputs) < 2:
            raise ShapeMismatch(f"joins two inputs or more, not {len(inputs)}")
        if len({len(shape) for shape in inputs}) > 1 or any(
            len(set(sizes) - {1}) > 1 for sizes in zip(*inputs, strict=True)
        ):
            raise ShapeMismatch(f"cannot join shapes {', '.join(str(list(s)) for s in inputs)}")
        return tuple(max(sizes) for sizes in zip(*inputs, strict=True))


class Add(_Merge):
    """The sum."""


class Multiply(_Merge):
    """The product."""


class Average(_Merge):
    """The mean."""


class Maximum(_Merge):
    """The larger."""


class Minimum(_Merge):
    """The smaller."""


class Subtract(_Merge):
    """The first less the second."""

    def output_shape(self, *inputs: Shape) -> Shape:
        """The common shape."""
        if len(inputs) != 2:
            raise ShapeMismatch(f"joins two inputs, not {len(inputs)}")
        return super().output_shape(*inputs)


class Concatenate(_Merge):
    """Side by side along an axis; axis 0 is the batch."""

    axis: int = Field(-1, ge=-MAX_DIMENSIONS, le=MAX_DIMENSIONS)

    def output_shape(self, *inputs: Shape) -> Shape:
        """The sum of the sizes along the axis."""
        if len(inputs) < 2:
            raise ShapeMismatch(f"joins two inputs or more, not {len(inputs)}")
        ranks = {len(shape) for shape in inputs}
        rank = len(inputs[0])
        at = self.axis + rank if self.axis < 0 else self.axis - 1
        if len(ranks) > 1 or not 0 <= at < rank or len({(*s[:at], *s[at + 1 :]) for s in inputs}) > 1:
            raise ShapeMismatch(f"cannot join shapes {', '.join(str(list(s)) for s in inputs)} along axis {self.axis}")
        return (*inputs[0][:at], sum(shape[at] for shape in inputs), *inputs[0][at + 1 :])


MERGES = (Add, Multiply, Average, Maximum, Minimum, Subtract, Concatenate)
