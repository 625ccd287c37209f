"""The base class of layers: output shape, variables and sizes by arithmetic; nothing is built.

All shapes are without the batch dimension.
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
    """A layer does not accept the shapes of its inputs; the message continues a sentence about the layer."""


class Layer(SpecPart):
    """One layer. Subclasses have the names and fields of the Keras layers."""

    trainable: bool = True

    has_kernel: ClassVar[bool] = False  # whether the layer counts as a weight layer

    def output_shape(self, *inputs: Shape) -> Shape:
        """Return the shape of the output for inputs of these shapes.

        Raises:
            ShapeMismatch: The layer does not accept these shapes.
        """
        return only(inputs)

    def variables(self, *inputs: Shape) -> tuple[tuple[str, Shape], ...]:
        """Return name and shape of each trainable variable in Keras's order."""
        del inputs
        return ()

    def values(self, output: Shape, *inputs: Shape) -> int:
        """Return how many values per sample the forward pass keeps for the backward pass."""
        del inputs
        return math.prod(output)

    def arguments(self) -> dict[str, Any]:
        """Return the arguments of the Keras constructor; initializers are specs."""
        return {name: getattr(self, name) for name in type(self).model_fields}


def only(inputs: tuple[Shape, ...]) -> Shape:
    """Return the shape of the only input.

    Raises:
        ShapeMismatch: There is not exactly one input.
    """
    if len(inputs) != 1:
        raise ShapeMismatch(f"takes one input, not {len(inputs)}")
    return inputs[0]


def of_rank(inputs: tuple[Shape, ...], rank: int, meaning: str) -> Shape:
    """Return the shape of the only input, which must have `rank` dimensions; `meaning` names them.

    Raises:
        ShapeMismatch: There is not exactly one input of this rank.
    """
    shape = only(inputs)
    if len(shape) != rank:
        raise ShapeMismatch(f"takes samples of shape {meaning}, not {list(shape)}")
    return shape
