"""How a network is trained, with the semantics of Keras's `fit`, optimizers and schedules."""

from typing import Annotated, Any, Literal, Self, get_args

from pydantic import BeforeValidator, Field, model_validator

from service.contract.spec_part import MAX_INTEGER, SpecPart

Rate = Annotated[float, Field(gt=0)]
Decay = Annotated[float, Field(ge=0, lt=1)]
Count = Annotated[int, Field(ge=1, le=MAX_INTEGER)]


class _Optimizer(SpecPart):
    learning_rate: Rate
    weight_decay: float | None = Field(None, ge=0, description="Decoupled: w −= learning rate · weight_decay · w.")


class Adam(_Optimizer):
    """Kingma and Ba 2015, as Keras implements it."""

    name: Literal["adam"] = "adam"
    learning_rate: Rate = 0.001
    beta_1: Decay = 0.9
    beta_2: Decay = 0.999
    epsilon: Rate = 1e-7
    amsgrad: bool = Field(False, description="Reddi, Kale and Kumar 2018.")


class AdamW(Adam):
    """Loshchilov and Hutter 2019."""

    name: Literal["adamw"] = "adamw"  # type: ignore[assignment]
    weight_decay: float | None = Field(0.004, ge=0, description="Decoupled: w −= learning rate · weight_decay · w.")


class Sgd(_Optimizer):
    """Stochastic gradient descent with Keras's momentum."""

    name: Literal["sgd"] = "sgd"
    learning_rate: Rate = 0.01
    momentum: Decay = 0.0
    nesterov: bool = False


class RmsProp(_Optimizer):
    """Tieleman and Hinton 2012, as Keras implements it."""

    name: Literal["rmsprop"] = "rmsprop"
    learning_rate: Rate = 0.001
    rho: Decay = 0.9
    momentum: Decay = 0.0
    epsilon: Rate = 1e-7
    centered: bool = False


class Adagrad(_Optimizer):
    """Duchi, Hazan and Singer 2011."""

    name: Literal["adagrad"] = "adagrad"
    learning_rate: Rate = 0.001
    initial_accumulator_value: float = Field(0.1, ge=0)
    epsilon: Rate = 1e-7


OptimizerSpec = Annotated[Adam | AdamW | Sgd | RmsProp | Adagrad, Field(discriminator="name")]


class ExponentialDecay(SpecPart):
    """Learning rate · decay_rate^(step / decay_steps)."""

    name: Literal["ExponentialDecay"]
    decay_steps: Count
    decay_rate: float = Field(gt=0)
    staircase: bool = False


class PiecewiseConstantDecay(SpecPart):
    """One learning rate up to each boundary, counted in steps; `optimizer.learning_rate` has no effect."""

    name: Literal["PiecewiseConstantDecay"]
    boundaries: Annotated[tuple[Count, ...], Field(strict=False, min_length=1, max_length=1000)]
    values: Annotated[tuple[Annotated[float, Field(ge=0)], ...], Field(strict=False, max_length=1001)]

    @model_validator(mode="after")
    def _check_boundaries(self) -> Self:
        if len(self.values) != len(self.boundaries) + 1:
            raise ValueError(
                f"values: {len(self.boundaries)} boundaries need {len(self.boundaries) + 1} values, not "
                f"{len(self.values)}"
            )
        if list(self.boundaries) != sorted(set(self.boundaries)):
            raise ValueError("boundaries: each boundary must be larger than the previous one")
        return self


class PolynomialDecay(SpecPart):
    """From the learning rate to `end_learning_rate` in `decay_steps` steps."""

    name: Literal["PolynomialDecay"]
    decay_steps: Count
    end_learning_rate: float = Field(0.0001, ge=0)
    power: float = Field(1.0, gt=0)
    cycle: bool = False


class InverseTimeDecay(SpecPart):
    """Learning rate / (1 + decay_rate · step / decay_steps)."""

    name: Literal["InverseTimeDecay"]
    decay_steps: Count
    decay_rate: float = Field(ge=0)
    staircase: bool = False


class CosineDecay(SpecPart):
    """Loshchilov and Hutter 2017, with an optional linear warm-up to `warmup_target`."""

    name: Literal["CosineDecay"]
    decay_steps: Count
    alpha: float = Field(0.0, ge=0, description="Last learning rate as a part of the first.")
    warmup_target: float | None = Field(None, gt=0)
    warmup_steps: int = Field(0, ge=0, le=MAX_INTEGER)


class CosineDecayRestarts(SpecPart):
    """Loshchilov and Hutter 2017, with warm restarts."""

    name: Literal["CosineDecayRestarts"]
    first_decay_steps: Count
    t_mul: float = Field(2.0, ge=1)
    m_mul: float = Field(1.0, gt=0)
    alpha: float = Field(0.0, ge=0)


ScheduleSpec = Annotated[
    ExponentialDecay | PiecewiseConstantDecay | PolynomialDecay | InverseTimeDecay | CosineDecay | CosineDecayRestarts,
    Field(discriminator="name"),
]

Monitor = Literal[
    "loss", "accuracy", "mse", "mae", "val_loss", "val_accuracy", "val_mse", "val_mae"
]  # the metrics of an epoch; `Objective.epoch_metrics` says which of them a run has
EPOCH_METRICS: tuple[str, ...] = get_args(Monitor)


class EarlyStopping(SpecPart):
    """`keras.callbacks.EarlyStopping`."""

    monitor: Monitor = "val_loss"
    min_delta: float = Field(0.0, ge=0)
    patience: int = Field(0, ge=0, le=MAX_INTEGER, description="Epochs without improvement before the end.")
    mode: Literal["auto", "min", "max"] = "auto"
    baseline: float | None = None
    restore_best_weights: bool = Field(False, description="Keep the best epoch's weights, not the last one's.")
    start_from_epoch: int = Field(0, ge=0, le=MAX_INTEGER)


class GradientClipping(SpecPart):
    """Keras's `clipvalue`, `clipnorm` (per variable) and `global_clipnorm`."""

    by: Literal["value", "norm", "global_norm"]
    threshold: float = Field(gt=0)


Loss = Literal["auto", "binary_crossentropy", "categorical_crossentropy", "mse", "mae", "huber"]


def _with_a_name(value: Any) -> Any:
    """Read the name of an optimizer, such as `"sgd"`, as the optimizer with its defaults."""
    return {"name": value} if isinstance(value, str) else value


class TrainingSpec(SpecPart):
    """How the network is trained; the semantics are those of Keras's `fit`."""

    epochs: int = Field(5, ge=1, le=MAX_INTEGER)
    batch_size: int = Field(32, ge=1, le=MAX_INTEGER)
    validation_split: float = Field(
        0.2, ge=0, lt=1, description="Part of the samples that validates, the last ones, as in Keras."
    )
    shuffle: bool = Field(True, description="A new order of the training samples in each epoch.")
    seed: int = Field(
        0, ge=0, le=MAX_INTEGER, description="Seed of independent streams for initial weights, order and dropout."
    )
    loss: Loss = Field("auto", description="auto: cross-entropy for classes, mse for regression.")
    optimizer: Annotated[
        OptimizerSpec,
        BeforeValidator(
            _with_a_name,
            json_schema_input_type=Literal["adam", "adamw", "sgd", "rmsprop", "adagrad"] | OptimizerSpec,
        ),
    ] = Field(default_factory=Adam)
    learning_rate_schedule: ScheduleSpec | None = Field(None, description="Starts from `optimizer.learning_rate`.")
    early_stopping: EarlyStopping | None = None
    precision: Literal["float32", "float64"] = "float32"
    gradient_clipping: GradientClipping | None = None
    stop_on_divergence: bool = Field(True, description="Stop at the first loss or gradient that is NaN or infinite.")
