"""The recorded first batch of a run and the output errors of the untrained network on it."""

from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from service.contract.history_format import MAX_FIRST_BATCH_BYTES
from service.contract.plan import Plan
from tests.support.plans import plan_of
from tests.support.training_runs import run_of, seed_noise
from worker.training.data import load
from worker.training.first_batch import RecordedFirstBatch
from worker.training.keras_model import build_model
from worker.training.keras_session import KerasSession
from worker.training.losses import sample_losses

ROUNDING = 1e-7  # Keras rounds the scale of a residual to float32 even in a float64 network
SMALL = {"kind": "mlp", "depth": 3, "width": 5}
BIASED = {"bias_initializer": {"name": "normal", "stddev": 0.3}}
MODELS: dict[str, dict[str, Any]] = {
    "baseline": {"kind": "baseline", "depth": 3, "width": 5},
    "improved": {"kind": "improved", "depth": 3, "width": 5},
    "widths and biases": {"kind": "mlp", "hidden_units": [7, 4, 6], "activation": "gelu", **BIASED},
    "layer normalization before": SMALL | {"normalization": "layer", "normalization_position": "before_activation"},
    "residuals": SMALL | {"residual": "post_activation", "residual_scale": "1/sqrt(depth)", "normalization": "batch"},
    "residuals before": SMALL | {"residual": "pre_activation", "activation": "silu", "normalization": "layer"},
    "dropout": SMALL | {"dropout": 0.4},
}
DATA: dict[str, dict[str, Any]] = {
    "two classes": {"source": "breast_cancer", "scale": "standard"},
    "three classes": {"source": "wine", "scale": "minmax"},
    "regression": {"source": "diabetes", "scale": "standard"},
    "images": {"source": "digits", "shape": [8, 8], "scale": "standard"},
}


def plan_with(model: Any, data: Any = None, **training: Any) -> Plan:
    return plan_of(model=model, data=data or DATA["two classes"], training={"precision": "float64", **training})


def recorded_first_batch(plan: Plan) -> RecordedFirstBatch | None:
    """The first batch of a run in eager mode: no trace is needed, because the program does not compute the errors."""
    tf.config.run_functions_eagerly(True)
    try:
        return next(run_of(plan).chunks()).first_batch
    finally:
        tf.config.run_functions_eagerly(False)


def errors_by_tape(plan: Plan, inputs: Any, labels: Any) -> Any:
    """∂loss/∂logits of each sample by TensorFlow, for the Keras model in training mode."""
    model = build_model(plan, KerasSession())
    seed_noise(plan, model)
    activation = model.get_layer("output").activation
    model.get_layer("output").activation = keras.activations.linear
    logits = tf.constant(model(inputs, training=True))
    with tf.GradientTape() as tape:
        tape.watch(logits)
        loss = tf.reduce_sum(sample_losses(plan.objective, tf.constant(labels), activation(logits)))
    return tape.gradient(loss, logits).numpy()


@pytest.mark.parametrize("model", MODELS)
def test_errors_equal_those_of_the_keras_model_in_training_mode(model: str) -> None:
    plan = plan_with(MODELS[model], shuffle=False, epochs=1)
    data = load(plan)

    first = recorded_first_batch(plan)

    assert first is not None
    np.testing.assert_array_equal(first.inputs, data.x_train[:32])
    np.testing.assert_allclose(first.errors, errors_by_tape(plan, data.x_train[:32], data.y_train[:32]), rtol=ROUNDING)


@pytest.mark.parametrize(
    ("data", "loss"),
    [
        ("two classes", "binary_crossentropy"),
        ("two classes", "categorical_crossentropy"),
        ("three classes", "categorical_crossentropy"),
        ("images", "categorical_crossentropy"),
        ("regression", "mse"),
        ("regression", "mae"),
        ("regression", "huber"),
    ],
)
def test_errors_are_the_derivative_of_each_loss(data: str, loss: str) -> None:
    plan = plan_with(MODELS["baseline"], DATA[data], loss=loss, shuffle=False, epochs=1)
    arrays = load(plan)

    first = recorded_first_batch(plan)

    assert first is not None
    assert first.errors.shape == (32, plan.objective.output_units)
    expected = errors_by_tape(plan, arrays.x_train[:32], arrays.y_train[:32])
    np.testing.assert_allclose(first.errors, expected, rtol=ROUNDING)


@pytest.mark.parametrize(
    ("model", "xla"),
    # XLA draws other random numbers, and all other layers are computed alike.
    [*((model, False) for model in MODELS), ("dropout", True), ("residuals before", True), ("improved", True)],
)
def test_the_recorded_gradient_of_the_output_bias_is_the_mean_of_the_errors(model: str, xla: bool) -> None:
    plan = plan_with(MODELS[model], DATA["three classes"], epochs=1)
    bias = [variable.name for variable in plan.variables].index("output/bias")

    first = next(run_of(plan, xla=xla).chunks())

    assert first.first_batch is not None
    recorded = first.recorded[plan.recorded[0]][0, bias]
    assert np.linalg.norm(first.first_batch.errors.mean(axis=0)) == pytest.approx(recorded, rel=ROUNDING)


def test_the_batch_has_the_order_of_the_run() -> None:
    plan = plan_with("baseline", epochs=1)
    x = load(plan).x_train

    first = recorded_first_batch(plan)

    assert first is not None
    assert not np.array_equal(first.inputs, x[:32])
    assert {row.tobytes() for row in first.inputs} <= {row.tobytes() for row in x}


def test_only_the_first_chunk_has_a_first_batch() -> None:
    plan = plan_with("baseline", epochs=1)
    run = run_of(plan)
    next(run.chunks())

    assert all(chunk.first_batch is None for chunk in run.chunks())


@pytest.mark.parametrize(
    ("model", "features", "size"),
    [("baseline", 20, 32 * 21 * 4), ("baseline", 8191, 2**20), ("baseline", 8192, 0)],
)
def test_a_plan_keeps_no_batch_beyond_the_limit(model: str, features: int, size: int) -> None:
    data = {"source": "random", "samples": 40, "features": features}
    plan = plan_of(model=model, data=data, training={"epochs": 1})

    assert plan.first_batch_bytes == size
    assert size <= MAX_FIRST_BATCH_BYTES


def test_a_run_computes_no_first_batch_that_its_plan_does_not_keep() -> None:
    data = {"source": "random", "samples": 40, "features": 9000}
    plan = plan_of(model={"kind": "baseline", "depth": 1}, data=data, training={"epochs": 1})

    assert recorded_first_batch(plan) is None


def test_a_network_printed_by_keras_has_no_first_batch() -> None:
    config = keras.Sequential([keras.Input((30,)), keras.layers.Dense(1, activation="sigmoid")]).to_json()
    plan = plan_with({"kind": "keras", "config": config}, epochs=1)

    assert plan.first_batch_bytes == 0
    assert recorded_first_batch(plan) is None


def test_errors_that_are_not_finite_are_recorded() -> None:
    model = SMALL | {"activation": "linear", "kernel_initializer": {"name": "normal", "stddev": 1e30}}

    first = recorded_first_batch(plan_of(model=model, training={"epochs": 1}))

    assert first is not None
    assert not np.isfinite(first.errors).all()
