"""The network of an experiment: a preset, a multilayer perceptron, or the user's own Keras network."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from typing import Annotated, Any, Literal, Self, get_args

from pydantic import BeforeValidator, Field, model_validator
from pydantic_core import PydanticCustomError

from service.contract.network.graph import Network
from service.contract.network.initializers import LARGEST, NEEDS_A_MATRIX, Fixed, Initializer, Scaled
from service.contract.network.keras_config import read_keras_config
from service.contract.network.plain_json import parsed
from service.contract.spec_part import MAX_INTEGER, SpecPart

HiddenActivation = Literal["relu", "sigmoid", "tanh", "leaky_relu", "elu", "selu", "gelu", "silu", "softplus", "linear"]
Units = Annotated[int, Field(ge=1, le=MAX_INTEGER)]
DEFAULT_DEPTH, DEFAULT_WIDTH = 11, 64

Preset = Literal["baseline", "improved"]  # the models that a spec may give by their name alone
PRESETS: tuple[str, ...] = get_args(Preset)


class Baseline(SpecPart):
    """(Dense, sigmoid) × depth, then the output layer: its gradients vanish."""

    kind: Literal["baseline"] = "baseline"
    depth: int = Field(DEFAULT_DEPTH, ge=1, le=MAX_INTEGER, description="Hidden layers.")
    width: int = Field(DEFAULT_WIDTH, ge=1, le=MAX_INTEGER, description="Units of each hidden layer.")

    def as_mlp(self) -> "Mlp":
        """Return the same network as a model of kind mlp."""
        return Mlp(kind="mlp", depth=self.depth, width=self.width, activation="sigmoid")


class Improved(SpecPart):
    """(Dense, ReLU, BatchNormalization) × depth, then the output layer."""

    kind: Literal["improved"] = "improved"
    depth: int = Field(DEFAULT_DEPTH, ge=1, le=MAX_INTEGER, description="Hidden layers.")
    width: int = Field(DEFAULT_WIDTH, ge=1, le=MAX_INTEGER, description="Units of each hidden layer.")

    def as_mlp(self) -> "Mlp":
        """Return the same network as a model of kind mlp."""
        return Mlp(kind="mlp", depth=self.depth, width=self.width, activation="relu", normalization="batch")


class Mlp(SpecPart):
    """Dense layers with a choice of activation, initializers, normalization, residual connections and dropout."""

    kind: Literal["mlp"]
    hidden_units: Annotated[tuple[Units, ...], Field(strict=False, min_length=1)] | None = Field(
        None, description="Units of each hidden layer, instead of `depth` and `width`."
    )
    depth: int | None = Field(None, ge=1, le=MAX_INTEGER, description=f"Hidden layers; default {DEFAULT_DEPTH}.")
    width: int | None = Field(
        None, ge=1, le=MAX_INTEGER, description=f"Units of each hidden layer; default {DEFAULT_WIDTH}."
    )
    activation: HiddenActivation = Field("relu", description="With the defaults of Keras: leaky_relu has slope 0.2.")
    kernel_initializer: Initializer = Field(Scaled(name="glorot_uniform"), description="Of the hidden layers.")
    bias_initializer: Initializer = Field(Fixed(name="zeros"), description="Of the hidden layers.")
    output_kernel_initializer: Initializer = Scaled(name="glorot_uniform")
    normalization: Literal["none", "batch", "layer"] = "none"
    normalization_position: Literal["after_activation", "before_activation"] | None = Field(
        None, description="Default after_activation; pre_activation residuals need before_activation."
    )
    residual: Literal["none", "post_activation", "pre_activation"] = Field(
        "none",
        description="post_activation: h + α · block(h), block = Dense, activation and its normalization; "
        "pre_activation: h + α · Dense(φ(norm(h))). The first hidden layer has no residual connection.",
    )
    residual_scale: Annotated[float, Field(gt=0, le=LARGEST)] | Literal["1/sqrt(depth)"] = Field(1.0, description="α")
    dropout: float = Field(0.0, ge=0, lt=1, description="After each hidden layer's activation and normalization.")

    @model_validator(mode="after")
    def _check_fields_together(self) -> Self:
        if self.hidden_units is not None and (self.depth is not None or self.width is not None):
            raise ValueError("hidden_units: write either hidden_units, or depth and width")
        if self.bias_initializer.name in NEEDS_A_MATRIX:
            raise ValueError(
                f"bias_initializer: {self.bias_initializer.name} fills matrices, but a bias is a vector; use zeros, "
                "for example"
            )
        if self.residual != "none" and self.hidden_units is not None and len(set(self.hidden_units)) > 1:
            a, b = next((a, b) for a, b in zip(self.hidden_units, self.hidden_units[1:], strict=False) if a != b)
            raise ValueError(f"hidden_units: residual connections need equal widths, but {a} and {b} follow each other")
        if self.residual == "pre_activation" and self.normalization_position == "after_activation":
            raise ValueError("normalization_position: pre_activation residuals need before_activation")
        return self

    def as_mlp(self) -> "Mlp":
        """Return this model."""
        return self

    @property
    def hidden_layers(self) -> int:
        """The number of hidden layers."""
        return len(self.hidden_units) if self.hidden_units is not None else self.depth or DEFAULT_DEPTH

    @property
    def widths(self) -> tuple[int, ...]:
        """Units of each hidden layer."""
        return self.hidden_units or (self.width or DEFAULT_WIDTH,) * self.hidden_layers

    def resolved(self) -> "Mlp":
        """Return the same model with every default written out."""
        updates: dict[str, Any] = {}
        if self.hidden_units is None:
            updates |= {"depth": self.depth or DEFAULT_DEPTH, "width": self.width or DEFAULT_WIDTH}
        if self.normalization_position is None:
            before = self.residual == "pre_activation"
            updates["normalization_position"] = "before_activation" if before else "after_activation"
        return self.model_copy(update=updates)


class KerasModel(SpecPart):
    """A Sequential or functional model of Keras 3, as `model.to_json()` writes it."""

    kind: Literal["keras"]
    config: Annotated[
        dict[str, Any],
        BeforeValidator(
            lambda value: parsed(value) if isinstance(value, str) else value,
            json_schema_input_type=str | dict[str, Any],
        ),
    ] = Field(description="The text, or the object; only layers of a fixed list are allowed.")

    @model_validator(mode="after")
    def _check_network(self) -> Self:
        with _named("config"):
            _ = self.network
        return self

    @cached_property
    def network(self) -> Network:
        """The network that the configuration describes."""
        return read_keras_config(self.config)

    def __eq__(self, other: object) -> bool:
        """Compare the configurations; the networks follow from them."""
        return isinstance(other, KerasModel) and self.config == other.config

    def __hash__(self) -> int:
        """Return a hash of the layers' names, since a configuration is a dictionary and has no hash."""
        return hash(tuple(node.name for node in self.network.nodes))


@contextmanager
def _named(field: str) -> Iterator[None]:
    """Put the name of a field in front of the message of a ValueError."""
    try:
        yield
    except ValueError as error:
        raise ValueError(f"{field}: {error}") from error


def _preset_from_name(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    if value not in PRESETS:
        raise PydanticCustomError("preset", "unknown preset: write 'baseline', 'improved', or an object with `kind`")
    return {"kind": value}


_Models = Baseline | Improved | Mlp | KerasModel
ModelSpec = Annotated[
    Annotated[_Models, Field(discriminator="kind")],
    BeforeValidator(_preset_from_name, json_schema_input_type=Preset | _Models),
]
