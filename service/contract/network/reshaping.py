"""Layers without variables that reshape, repeat, scale or merge their inputs."""

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
    """The input itself."""


class Flatten(Layer):
    """Joins all dimensions into one."""

    data_format: ChannelsLast = "channels_last"

    def output_shape(self, *inputs: Shape) -> Shape:
        """Return [entries]."""
        return (math.prod(only(inputs)),)


class Reshape(Layer):
    """The same entries in another shape; one dimension may be −1, which means the rest."""

    target_shape: Annotated[
        tuple[Annotated[int, Field(ge=-1, le=MAX_INTEGER)], ...], Field(strict=False, max_length=MAX_DIMENSIONS)
    ]

    def output_shape(self, *inputs: Shape) -> Shape:
        """Return the target shape."""
        entries, target = math.prod(only(inputs)), list(self.target_shape)
        known = math.prod(d for d in target if d != -1)
        if (
            not target
            or known == 0
            or target.count(-1) > 1
            or entries % known
            or (-1 not in target and entries != known)
        ):
            raise ShapeMismatch(f"has target_shape {target}, which does not hold the {entries:,} entries of its input")
        return tuple(entries // known if d == -1 else d for d in target)


class Permute(Layer):
    """The dimensions in another order; they are counted from 1."""

    dims: Annotated[tuple[Size, ...], Field(strict=False)]

    def output_shape(self, *inputs: Shape) -> Shape:
        """Return the permuted shape."""
        shape = only(inputs)
        if sorted(self.dims) != list(range(1, len(shape) + 1)):
            raise ShapeMismatch(
                f"has dims {list(self.dims)}, which is not a permutation of the dimensions of {list(shape)}"
            )
        return tuple(shape[d - 1] for d in self.dims)


class RepeatVector(Layer):
    """Repeats a vector n times."""

    n: Size

    def output_shape(self, *inputs: Shape) -> Shape:
        """Return [n, features]."""
        return (self.n, *of_rank(inputs, 1, "[features]"))


class Rescaling(Layer):
    """x · scale + offset."""

    scale: Real
    offset: Real = 0.0


# -------------------------------------------------------------------------------------------------- joining


class _Merge(Layer):
    def output_shape(self, *inputs: Shape) -> Shape:
        """Return the common shape; a size of 1 is broadcast."""
        if len(inputs) < 2:
            raise ShapeMismatch(f"takes at least two inputs, not {len(inputs)}")
        if len({len(shape) for shape in inputs}) > 1 or any(
            len(set(sizes) - {1}) > 1 for sizes in zip(*inputs, strict=True)
        ):
            raise ShapeMismatch(f"cannot merge shapes {', '.join(str(list(s)) for s in inputs)}")
        return tuple(max(sizes) for sizes in zip(*inputs, strict=True))


class Add(_Merge):
    """The elementwise sum."""


class Multiply(_Merge):
    """The elementwise product."""


class Average(_Merge):
    """The elementwise mean."""


class Maximum(_Merge):
    """The elementwise maximum."""


class Minimum(_Merge):
    """The elementwise minimum."""


class Subtract(_Merge):
    """The first input minus the second."""

    def output_shape(self, *inputs: Shape) -> Shape:
        """Return the common shape."""
        if len(inputs) != 2:
            raise ShapeMismatch(f"takes two inputs, not {len(inputs)}")
        return super().output_shape(*inputs)


class Concatenate(_Merge):
    """Joins the inputs along an axis; axis 0 is the batch."""

    axis: int = Field(-1, ge=-MAX_DIMENSIONS, le=MAX_DIMENSIONS)

    def output_shape(self, *inputs: Shape) -> Shape:
        """Return the shape with the sum of the sizes along the axis."""
        if len(inputs) < 2:
            raise ShapeMismatch(f"takes at least two inputs, not {len(inputs)}")
        ranks = {len(shape) for shape in inputs}
        rank = len(inputs[0])
        at = self.axis + rank if self.axis < 0 else self.axis - 1
        if len(ranks) > 1 or not 0 <= at < rank or len({(*s[:at], *s[at + 1 :]) for s in inputs}) > 1:
            raise ShapeMismatch(
                f"cannot join shapes {', '.join(str(list(s)) for s in inputs)} along axis {self.axis}: "
                "all other sizes must agree"
            )
        return (*inputs[0][:at], sum(shape[at] for shape in inputs), *inputs[0][at + 1 :])


MERGES = (Add, Multiply, Average, Maximum, Minimum, Subtract, Concatenate)
