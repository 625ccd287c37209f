"""What theory is told of a run: its first batch, and how wrong the network is there."""

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

ROUNDING = 1e-7  # Keras rounds the scale of a residual to float32, also in a network of float64
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
    "numbers": {"source": "diabetes", "scale": "standard"},
    "images": {"source": "digits", "shape": [8, 8], "scale": "standard"},
}


def planned(model: Any, data: Any = None, **training: Any) -> Plan:
    return plan_of(model=model, data=data or DATA["two classes"], training={"precision": "float64", **training})


def kept(plan: Plan) -> RecordedFirstBatch | None:
    chunks = list(run_of(plan).chunks())
    assert all(chunk.first_batch is None for chunk in chunks[1:])
    return chunks[0].first_batch


def by_tape(plan: Plan, rows: Any, labels: Any) -> Any:
    """∂loss/∂logits times the rows, of the Keras model in training mode, by TensorFlow."""
    model = build_model(plan, KerasSession())
    seed_noise(plan, model)
    activation = model.get_layer("output").activation
    model.get_layer("output").activation = keras.activations.linear
    logits = tf.constant(model(rows, training=True))
    with tf.GradientTape() as tape:
        tape.watch(logits)
        loss = tf.reduce_sum(sample_losses(plan.objective, tf.constant(labels), activation(logits)))
    return tape.gradient(loss, logits).numpy()


@pytest.mark.parametrize("model", MODELS)
def test_the_errors_are_those_of_keras_in_training_mode(model: str) -> None:
    plan = planned(MODELS[model], shuffle=False, epochs=1)
    data = load(plan)

    first = kept(plan)

    assert first is not None
    np.testing.assert_array_equal(first.rows, data.x_train[:32])
    np.testing.assert_allclose(first.errors, by_tape(plan, data.x_train[:32], data.y_train[:32]), rtol=ROUNDING)


@pytest.mark.parametrize(
    ("data", "loss"),
    [
        ("two classes", "binary_crossentropy"),
        ("two classes", "categorical_crossentropy"),
        ("three classes", "categorical_crossentropy"),
        ("images", "categorical_crossentropy"),
        ("numbers", "mse"),
        ("numbers", "mae"),
        ("numbers", "huber"),
    ],
)
def test_the_errors_are_the_derivative_of_every_loss(data: str, loss: str) -> None:
    plan = planned(MODELS["baseline"], DATA[data], loss=loss, shuffle=False, epochs=1)
    arrays = load(plan)

    first = kept(plan)

    assert first is not None
    assert first.errors.shape == (32, plan.objective.output_units)
    np.testing.assert_allclose(first.errors, by_tape(plan, arrays.x_train[:32], arrays.y_train[:32]), rtol=ROUNDING)


@pytest.mark.parametrize("xla", [False, True], ids=["graph", "xla"])
@pytest.mark.parametrize("model", MODELS)
def test_the_recorded_gradient_of_the_output_bias_is_their_mean(model: str, xla: bool) -> None:
    plan = planned(MODELS[model], DATA["three classes"], epochs=1)
    bias = [variable.name for variable in plan.variables].index("output/bias")

    first = next(run_of(plan, xla=xla).chunks())

    assert first.first_batch is not None
    recorded = first.recorded[plan.recorded[0]][0, bias]
    assert np.linalg.norm(first.first_batch.errors.mean(axis=0)) == pytest.approx(recorded, rel=ROUNDING)


def test_the_batch_is_in_the_order_in_which_the_run_sees_it() -> None:
    plan = planned("baseline", epochs=1)
    x = load(plan).x_train

    first = kept(plan)

    assert first is not None
    assert not np.array_equal(first.rows, x[:32])
    assert {row.tobytes() for row in first.rows} <= {row.tobytes() for row in x}


def test_a_run_that_goes_on_from_a_checkpoint_has_no_first_batch_any_more() -> None:
    plan = planned("baseline", epochs=1)
    run = run_of(plan)
    next(run.chunks())

    assert all(chunk.first_batch is None for chunk in run.chunks())


@pytest.mark.parametrize(
    ("model", "features", "size"),
    [("baseline", 20, 32 * 21 * 4), ("baseline", 8191, 2**20), ("baseline", 8192, 0)],
)
def test_a_batch_beyond_the_limit_is_not_kept(model: str, features: int, size: int) -> None:
    data = {"source": "random", "samples": 40, "features": features}
    plan = plan_of(model=model, data=data, training={"epochs": 1})

    assert plan.first_batch_bytes == size
    assert size <= MAX_FIRST_BATCH_BYTES


def test_what_is_not_to_be_kept_is_not_made() -> None:
    data = {"source": "random", "samples": 40, "features": 9000}

    assert kept(plan_of(model={"kind": "baseline", "depth": 1}, data=data, training={"epochs": 1})) is None


def test_of_a_network_of_ones_own_no_batch_is_kept() -> None:
    config = keras.Sequential([keras.Input((30,)), keras.layers.Dense(1, activation="sigmoid")]).to_json()
    plan = planned({"kind": "keras", "config": config}, epochs=1)

    assert plan.first_batch_bytes == 0
    assert kept(plan) is None


def test_errors_beyond_any_number_are_kept_as_they_are() -> None:
    model = SMALL | {"activation": "linear", "kernel_initializer": {"name": "normal", "stddev": 1e30}}

    first = kept(plan_of(model=model, training={"epochs": 1}))

    assert first is not None
    assert not np.isfinite(first.errors).all()
