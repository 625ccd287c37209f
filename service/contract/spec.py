"""The experiment spec: what a user may ask for, every default explicit once resolved."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, field_validator

MAX_INTEGER = 2**53 - 1  # the largest integer that every JSON reader keeps exact


class SpecPart(BaseModel):
    """Frozen; unknown fields, wrong types, NaN and infinity are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


class Baseline(SpecPart):
    """(Dense, sigmoid) × depth, then the output layer: the network whose gradients vanish."""

    kind: Literal["baseline"] = "baseline"
    depth: int = Field(11, ge=1, le=MAX_INTEGER, description="Hidden layers.")
    width: int = Field(64, ge=1, le=MAX_INTEGER, description="Units of each hidden layer.")


class Improved(SpecPart):
    """(Dense, ReLU, BatchNormalization) × depth, then the output layer."""

    kind: Literal["improved"] = "improved"
    depth: int = Field(11, ge=1, le=MAX_INTEGER, description="Hidden layers.")
    width: int = Field(64, ge=1, le=MAX_INTEGER, description="Units of each hidden layer.")


def _preset_from_name(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    if value not in ("baseline", "improved"):
        raise ValueError("not a preset: 'baseline' or 'improved', or an object with `kind`")
    return {"kind": value}


ModelSpec = Annotated[
    Annotated[Baseline | Improved, Field(discriminator="kind")],
    BeforeValidator(_preset_from_name, json_schema_input_type=Literal["baseline", "improved"] | Baseline | Improved),
]

Scale = Literal["none", "standard", "minmax"]


class RandomData(SpecPart):
    """Uniform inputs in [0, 1) and fair random binary labels: nothing to learn, gradients to look at."""

    source: Literal["random"] = "random"
    samples: int = Field(1000, ge=2, le=MAX_INTEGER, description="Rows, validation rows included.")
    features: int = Field(20, ge=1, le=MAX_INTEGER, description="Columns.")
    scale: Scale = Field("none", description="By mean and deviation, or by range, of the training rows.")
    seed: int | None = Field(None, ge=0, le=MAX_INTEGER, description="Default: `training.seed`.")


class BundledData(SpecPart):
    """A real data set that comes with scikit-learn, its rows shuffled once before the split."""

    source: Literal["breast_cancer", "digits", "wine", "iris"]
    scale: Scale = Field("none", description="By mean and deviation, or by range, of the training rows.")
    seed: int | None = Field(None, ge=0, le=MAX_INTEGER, description="Default: `training.seed`.")


DataSpec = Annotated[RandomData | BundledData, Field(discriminator="source")]


class Adam(SpecPart):
    """Kingma and Ba 2015, as Keras writes it."""

    name: Literal["adam"] = "adam"
    learning_rate: float = Field(0.001, gt=0)
    beta_1: float = Field(0.9, ge=0, lt=1)
    beta_2: float = Field(0.999, ge=0, lt=1)
    epsilon: float = Field(1e-7, gt=0)


class Sgd(SpecPart):
    """Stochastic gradient descent with Keras's momentum."""

    name: Literal["sgd"] = "sgd"
    learning_rate: float = Field(0.01, gt=0)
    momentum: float = Field(0.0, ge=0, lt=1)


OptimizerSpec = Annotated[Adam | Sgd, Field(discriminator="name")]


class TrainingSpec(SpecPart):
    """How the network is trained; the semantics are those of Keras's `fit`."""

    epochs: int = Field(5, ge=1, le=MAX_INTEGER)
    batch_size: int = Field(32, ge=1, le=MAX_INTEGER)
    validation_split: float = Field(0.2, ge=0, lt=1, description="The last part of the rows, as Keras cuts it.")
    shuffle: bool = Field(True, description="A new order of the training rows in each epoch.")
    seed: int = Field(0, ge=0, le=MAX_INTEGER, description="Separate streams for weights and order.")
    optimizer: OptimizerSpec = Field(default_factory=Adam)


class ExperimentSpec(SpecPart):
    """One training run. Posting a stored spec again reproduces it byte for byte on the same kind of device."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"model": "baseline"},
                {
                    "name": "digits, four layers",
                    "model": {"kind": "improved", "depth": 4},
                    "data": {"source": "digits", "scale": "standard"},
                    "training": {"epochs": 20},
                },
            ]
        }
    )

    name: str | None = Field(None, max_length=120)
    tags: Annotated[tuple[Annotated[str, Field(min_length=1, max_length=60)], ...], Field(strict=False)] = Field(
        (), max_length=16
    )
    model: ModelSpec
    data: DataSpec = Field(default_factory=RandomData)
    training: TrainingSpec = Field(default_factory=TrainingSpec)

    @field_validator("tags")
    @classmethod
    def _each_tag_once(cls, tags: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(dict.fromkeys(tags))

    def resolved(self) -> "ExperimentSpec":
        """The same spec with no default left open."""
        if self.data.seed is not None:
            return self
        return self.model_copy(update={"data": self.data.model_copy(update={"seed": self.training.seed})})
