"""What every layer can say of itself, by arithmetic on Python integers: nothing is built to find out how large it is.

Shapes are without the batch.
"""

import math
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BeforeValidator, Field

from service.contract.spec_part import MAX_INTEGER, SpecPart

Shape = tuple[int, ...]
Size = Annotated[int, Field(ge=1, le=MAX_INTEGER)]
Part = Annotated[float, Field(ge=0, lt=1)]
MAX_DIMENSIONS = 4
ChannelsLast = Annotated[
    Literal["channels_last"], BeforeValidator(lambda value: "channels_last" if value is None else value)
]

ActivationName = Literal[
    "linear", "relu", "relu6", "leaky_relu", "elu", "selu", "celu", "gelu", "silu", "swish", "mish", "softplus",
    "softsign", "sigmoid", "tanh", "hard_sigmoid", "hard_tanh", "hard_silu", "hard_swish", "exponential", "softmax",
    "log_softmax", "log_sigmoid", "squareplus", "soft_shrink", "hard_shrink", "tanh_shrink",
]  # fmt: skip


class ShapeMismatch(ValueError):
    """A layer cannot take what is before it."""


class Layer(SpecPart):
    """One layer; subclasses are named as Keras names theirs."""

    trainable: bool = True

    has_kernel: ClassVar[bool] = False  # counts for the depth

    def output_shape(self, *inputs: Shape) -> Shape:
        """Shape of the output for these inputs; raises ShapeMismatch."""
        return only(inputs)

    def variables(self, *inputs: Shape) -> tuple[tuple[str, Shape], ...]:
        """(name, shape) of each variable that training changes, in Keras's order."""
        del inputs
        return ()

    def values(self, *inputs: Shape) -> int:
        """Numbers that the layer makes of one row, which training keeps."""
        return math.prod(self.output_shape(*inputs))

    def arguments(self) -> dict[str, Any]:
        """What Keras's constructor takes; initializers as they stand here."""
        return {name: getattr(self, name) for name in type(self).model_fields}


def only(inputs: tuple[Shape, ...]) -> Shape:
    """The one input's shape; raises ShapeMismatch where there are others."""
    if len(inputs) != 1:
        raise ShapeMismatch(f"takes one input, not {len(inputs)}")
    return inputs[0]


def of_rank(inputs: tuple[Shape, ...], rank: int, meaning: str) -> Shape:
    """The one input's shape, which must have `rank` dimensions; raises ShapeMismatch."""
    shape = only(inputs)
    if len(shape) != rank:
        raise ShapeMismatch(f"takes rows of {meaning}, not of shape {list(shape)}")
    return shape
