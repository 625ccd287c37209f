"""A run with any training option ends as `model.fit` does with the same option, in float64."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import keras
import numpy as np
import pytest

from service.contract.plan import Plan
from service.contract.recording_spec import Statistic
from tests.support.plans import plan_of
from worker.training.data import Data, load
from worker.training.engine import Chunk, TrainingRun
from worker.training.keras_model import build_model
from worker.training.keras_session import KerasSession
from worker.training.programs import Programs

InFloat64 = Callable[[], AbstractContextManager[None]]

OPTIMIZERS = {
    "adam": keras.optimizers.Adam,
    "adamw": keras.optimizers.AdamW,
    "sgd": keras.optimizers.SGD,
    "rmsprop": keras.optimizers.RMSprop,
    "adagrad": keras.optimizers.Adagrad,
}
CLIPPING = {"value": "clipvalue", "norm": "clipnorm", "global_norm": "global_clipnorm"}
LOSSES = {
    "mse": "mse",
    "mae": "mae",
    "huber": "huber",
    "binary_crossentropy": "binary_crossentropy",
    "categorical_crossentropy": "sparse_categorical_crossentropy",
}
IRIS = {"source": "iris", "scale": "standard"}
DIABETES = {"source": "diabetes", "scale": "standard"}
MODEL = {"kind": "mlp", "depth": 2, "width": 6, "activation": "tanh"}


def plan_with(training: dict[str, Any], data: dict[str, Any], model: dict[str, Any] | None = None) -> Plan:
    defaults = {"shuffle": False, "epochs": 3, "precision": "float64"}
    return plan_of(model=model or MODEL, data=data, training=defaults | training)


def trained_by_fit(plan: Plan, data: Data) -> tuple[keras.Model, dict[str, list[float]]]:
    training = plan.spec.training
    arguments = training.optimizer.model_dump(exclude={"name"})
    if training.learning_rate_schedule is not None:
        schedule = training.learning_rate_schedule.model_dump(exclude={"name"})
        kind = getattr(keras.optimizers.schedules, training.learning_rate_schedule.name)
        arguments["learning_rate"] = kind(training.optimizer.learning_rate, **schedule)
    if training.gradient_clipping is not None:
        arguments[CLIPPING[training.gradient_clipping.by]] = training.gradient_clipping.threshold
    callbacks = []
    if training.early_stopping is not None:
        callbacks.append(keras.callbacks.EarlyStopping(**training.early_stopping.model_dump()))
    y_train, y_validation = data.y_train, data.y_validation
    if plan.objective.classes is not None and plan.objective.loss in ("mse", "mae", "huber"):
        y_train, y_validation = (np.eye(plan.objective.classes)[y] for y in (y_train, y_validation))
    model = build_model(plan, KerasSession())
    metrics = ["mse", "mae"] if plan.objective.classes is None else ["accuracy"]
    loss = LOSSES[plan.objective.loss]
    model.compile(OPTIMIZERS[training.optimizer.name](**arguments), loss, metrics=metrics, jit_compile=False)
    history = model.fit(
        data.x_train,
        y_train if y_train.ndim > 1 else y_train[:, None],
        validation_data=(data.x_validation, y_validation if y_validation.ndim > 1 else y_validation[:, None]),
        epochs=training.epochs,
        batch_size=training.batch_size,
        shuffle=False,
        verbose=0,
        callbacks=callbacks,
    )
    return model, history.history


def trained(plan: Plan, data: Data) -> tuple[keras.Model, list[Chunk]]:
    run = TrainingRun(plan, data)
    chunks = list(run.chunks())
    return run.trained_model(), chunks


def assert_ends_as_fit(in_float64: InFloat64, plan: Plan, tolerance: float = 1e-9) -> list[Chunk]:
    data = load(plan)
    ours, chunks = trained(plan, data)
    with in_float64():
        theirs, history = trained_by_fit(plan, data)
    for mine, fitted in zip(ours.weights, theirs.weights, strict=True):
        if mine.name != "seed_generator_state":
            np.testing.assert_allclose(mine.numpy(), fitted.numpy(), rtol=tolerance, atol=tolerance)
    epochs = [chunk.epoch_metrics for chunk in chunks if chunk.epoch_metrics is not None]
    assert len(epochs) == len(history["loss"])
    for name in plan.objective.epoch_metrics:
        np.testing.assert_allclose([metrics[name] for metrics in epochs], history[name], rtol=1e-6, err_msg=name)
    return chunks


@pytest.mark.parametrize(
    "optimizer",
    [
        {"name": "adam", "weight_decay": 0.03},
        {"name": "adamw", "weight_decay": 0.1, "amsgrad": True},
        {"name": "sgd", "learning_rate": 0.125, "momentum": 0.9, "nesterov": True, "weight_decay": 0.01},
        {"name": "rmsprop", "learning_rate": 0.0078125, "momentum": 0.5},
        {"name": "adagrad", "learning_rate": 0.125},
    ],
    ids=lambda value: value["name"],
)
def test_optimizers_with_weight_decay_train_as_in_fit(keras_in_float64: InFloat64, optimizer: dict[str, Any]) -> None:
    assert_ends_as_fit(keras_in_float64, plan_with({"optimizer": optimizer}, IRIS), 1e-5)


@pytest.mark.parametrize(("by", "threshold"), [("value", 0.015625), ("norm", 0.125), ("global_norm", 0.25)])
def test_clipping_trains_as_in_fit_and_records_norms_before_and_after(
    keras_in_float64: InFloat64, by: str, threshold: float
) -> None:
    chunks = assert_ends_as_fit(
        keras_in_float64, plan_with({"gradient_clipping": {"by": by, "threshold": threshold}}, IRIS), 1e-7
    )

    before = np.concatenate([chunk.recorded[Statistic.GRADIENT_NORM] for chunk in chunks])
    after = np.concatenate([chunk.recorded[Statistic.CLIPPED_NORM] for chunk in chunks])
    assert np.any(before > threshold)
    if by == "norm":
        np.testing.assert_allclose(after, np.minimum(before, threshold), rtol=1e-12)
    elif by == "global_norm":
        together = np.linalg.norm(before, axis=1, keepdims=True)
        np.testing.assert_allclose(after, before * np.minimum(1, threshold / together), rtol=1e-12)
    else:
        assert np.all(after <= before * (1 + 1e-12))
        assert np.any(after < before)


@pytest.mark.parametrize(
    "schedule",
    [
        {"name": "CosineDecay", "decay_steps": 10, "warmup_target": 0.25, "warmup_steps": 3},
        {"name": "ExponentialDecay", "decay_steps": 2, "decay_rate": 0.5},
    ],
    ids=lambda value: value["name"],
)
def test_learning_rate_schedules_train_as_in_fit(keras_in_float64: InFloat64, schedule: dict[str, Any]) -> None:
    training = {"optimizer": {"name": "sgd", "learning_rate": 0.125}, "learning_rate_schedule": schedule}
    assert_ends_as_fit(keras_in_float64, plan_with(training, IRIS), 1e-5)


@pytest.mark.parametrize("loss", ["mse", "mae", "huber"])
@pytest.mark.parametrize("data", [IRIS, DIABETES], ids=["one-hot classes", "regression"])
def test_losses_train_as_in_fit(keras_in_float64: InFloat64, loss: str, data: dict[str, Any]) -> None:
    assert_ends_as_fit(keras_in_float64, plan_with({"loss": loss}, data), 1e-7)


def test_two_classes_with_a_softmax_train_as_in_fit(keras_in_float64: InFloat64) -> None:
    training = {"loss": "categorical_crossentropy"}
    assert_ends_as_fit(keras_in_float64, plan_with(training, {"source": "breast_cancer", "scale": "standard"}))


@pytest.mark.parametrize("restore", [False, True], ids=["last weights", "best weights"])
def test_early_stopping_ends_as_in_fit(keras_in_float64: InFloat64, restore: bool) -> None:
    training = {
        "epochs": 30,
        "optimizer": {"name": "sgd", "learning_rate": 2.0},
        "early_stopping": {"patience": 2, "restore_best_weights": restore},
    }
    chunks = assert_ends_as_fit(keras_in_float64, plan_with(training, IRIS), 1e-6)

    assert chunks[-1].stopped_early
    assert sum(chunk.epoch_metrics is not None for chunk in chunks) < 30


def test_a_run_that_does_not_stop_on_divergence_trains_all_steps() -> None:
    training = {"epochs": 4, "optimizer": {"name": "sgd", "learning_rate": 1e300}, "stop_on_divergence": False}
    plan = plan_with(training, DIABETES)
    _, chunks = trained(plan, load(plan))

    assert chunks[-1].stop == plan.work.total_steps
    assert min(chunk.diverged_at_step for chunk in chunks if chunk.diverged_at_step is not None) < 5


def test_noise_differs_between_steps_and_between_seeds_but_not_between_runs() -> None:
    programs = Programs()

    def losses(seed: int) -> list[float]:
        # one batch of all samples, and no learning, so that only the noise changes
        training = {
            "seed": seed,
            "batch_size": 10**6,
            "epochs": 4,
            "optimizer": {"name": "sgd", "learning_rate": 1e-30},
        }
        data = {"source": "blobs", "seed": 1, "samples": 50}
        plan = plan_with({**training, "validation_split": 0.0}, data, {**MODEL, "dropout": 0.5})
        chunks = TrainingRun(plan, load(plan), programs.program_for(plan)).chunks()
        return [float(loss) for chunk in chunks for loss in chunk.step_loss]

    first, again, other = losses(1), losses(1), losses(2)

    assert len(set(first)) == 4
    assert first == again
    assert first != other
