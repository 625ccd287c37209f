"""What a spec will cost, by arithmetic alone: nothing is built, loaded or allocated to find out."""

import math
from dataclasses import dataclass

from pydantic import BaseModel, Field
from pydantic_settings import BaseSettings, SettingsConfigDict

from service.contract.errors import InvalidSpec, LimitExceeded
from service.contract.history import FLOAT32_BYTES
from service.contract.spec import DataSpec, ExperimentSpec, Improved, ModelSpec, RandomData

# Rows, columns and classes of the sets that scikit-learn bundles (its user guide, "Toy datasets").
BUNDLED_SHAPES = {
    "breast_cancer": (569, 30, 2),
    "digits": (1797, 64, 10),
    "wine": (178, 13, 3),
    "iris": (150, 4, 3),
}


class Limits(BaseSettings):
    """The most that one experiment may ask for; `GRADFLOW_LIMIT_…` changes each."""

    model_config = SettingsConfigDict(env_prefix="GRADFLOW_LIMIT_", frozen=True)

    layers: int = Field(1_000, description="Hidden layers.")
    parameters: int = Field(50_000_000, description="Trainable numbers.")
    steps: int = Field(1_000_000, description="Optimizer steps, all epochs together.")
    recorded_values: int = Field(64_000_000, description="Variables times recorded steps; 4 bytes each.")
    data_bytes: int = Field(256 * 2**20, description="Bytes of the data set as float32.")


class Variable(BaseModel):
    """A trainable variable whose gradient is recorded."""

    name: str = Field(description="`layer/role`, as in `dense_3/kernel`.")
    layer: str
    role: str = Field(description="kernel, bias, gamma or beta.")
    depth: int = Field(description="Kernels between the input and this layer.")
    shape: tuple[int, ...]


@dataclass(frozen=True)
class DataShape:
    """Rows, features and classes of a data set."""

    samples: int
    features: int
    classes: int

    @property
    def output_units(self) -> int:
        """One sigmoid unit for two classes, else one softmax unit a class."""
        return 1 if self.classes == 2 else self.classes


@dataclass(frozen=True)
class Workload:
    """The size of a run."""

    train_rows: int
    validation_rows: int
    steps_per_epoch: int
    total_steps: int


def data_shape(data: DataSpec) -> DataShape:
    """Shape of the data set that a data spec stands for."""
    if isinstance(data, RandomData):
        return DataShape(data.samples, data.features, classes=2)
    return DataShape(*BUNDLED_SHAPES[data.source])


def workload(spec: ExperimentSpec) -> Workload:
    """Rows and steps of a run, cut as Keras cuts them (`validation_split` of `keras.Model.fit`)."""
    samples = data_shape(spec.data).samples
    train_rows = math.floor(samples * (1.0 - spec.training.validation_split))
    steps_per_epoch = math.ceil(train_rows / spec.training.batch_size)
    return Workload(train_rows, samples - train_rows, steps_per_epoch, steps_per_epoch * spec.training.epochs)


def trainable_variables(model: ModelSpec, shape: DataShape) -> tuple[Variable, ...]:
    """Every trainable variable in Keras's order, from input to output."""

    def variable(layer: str, role: str, depth: int, *dimensions: int) -> Variable:
        return Variable(name=f"{layer}/{role}", layer=layer, role=role, depth=depth, shape=dimensions)

    variables: list[Variable] = []
    fan_in = shape.features
    for depth in range(model.depth):
        dense = f"dense_{depth}"
        variables.append(variable(dense, "kernel", depth, fan_in, model.width))
        variables.append(variable(dense, "bias", depth, model.width))
        if isinstance(model, Improved):
            normalization = f"batch_normalization_{depth}"
            variables.append(variable(normalization, "gamma", depth, model.width))
            variables.append(variable(normalization, "beta", depth, model.width))
        fan_in = model.width
    variables.append(variable("output", "kernel", model.depth, fan_in, shape.output_units))
    variables.append(variable("output", "bias", model.depth, shape.output_units))
    return tuple(variables)


def parameter_count(model: ModelSpec, shape: DataShape) -> int:
    """Trainable numbers of the model, in closed form: depth itself may be absurd."""
    normalization = 2 * model.width if isinstance(model, Improved) else 0
    first = shape.features * model.width + model.width + normalization
    each_further = model.width * model.width + model.width + normalization
    output = (model.width + 1) * shape.output_units
    return first + (model.depth - 1) * each_further + output


def check_limits(spec: ExperimentSpec, limits: Limits) -> Workload:
    """The workload of a spec that keeps the limits.

    Raises:
        LimitExceeded: naming the field, the limit and the value.
        InvalidSpec: where the validation split leaves no row on one side.
    """
    shape = data_shape(spec.data)
    work = workload(spec)

    def within(location: tuple[str, ...], limit: str, value: int) -> None:
        maximum: int = getattr(limits, limit)
        if value > maximum:
            raise LimitExceeded(location, limit, value, maximum)

    within(("data",), "data_bytes", shape.samples * (shape.features + 1) * FLOAT32_BYTES)
    within(("model", "depth"), "layers", spec.model.depth)
    within(("model",), "parameters", parameter_count(spec.model, shape))
    within(("training", "epochs"), "steps", work.total_steps)
    variables = len(trainable_variables(spec.model, shape))
    within(("training", "epochs"), "recorded_values", variables * work.total_steps)
    if work.train_rows == 0 or (spec.training.validation_split > 0 and work.validation_rows == 0):
        raise InvalidSpec(
            ("training", "validation_split"),
            f"{spec.training.validation_split} of {shape.samples} rows leaves "
            f"{work.train_rows} to train on and {work.validation_rows} to validate with",
        )
    return work
