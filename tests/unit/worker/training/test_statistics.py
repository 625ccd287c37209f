"""Each statistic equals its definition, computed in NumPy from the weights and the batch alone."""

import json
from typing import Any, NamedTuple

import keras
import numpy as np
import numpy.typing as npt
import pytest
import tensorflow as tf

from service.contract.plan import Plan
from service.contract.recording_spec import Statistic
from tests.support.plans import plan_of
from tests.support.training_runs import run_of
from worker.training.data import Data, load
from worker.training.engine import TrainingRun
from worker.training.keras_model import build_model
from worker.training.keras_session import KerasSession

Float64s = npt.NDArray[np.float64]

EVERYTHING = [statistic.value for statistic in Statistic]
RATE = 0.125


def plan_with(activation: str, every: int = 1, normalization: str = "none") -> Plan:
    return plan_of(
        model={
            "kind": "mlp",
            "depth": 2,
            "width": 5,
            "activation": activation,
            "normalization": normalization,
            "normalization_position": "before_activation",
            "kernel_initializer": {"name": "variance_scaling", "scale": 6.0},  # saturates many units
        },
        data={"source": "blobs", "samples": 40, "features": 3, "spread": 4.0},
        training={
            "epochs": 2,
            "batch_size": 8,
            "shuffle": False,
            "precision": "float64",
            "optimizer": {"name": "sgd", "learning_rate": RATE},
            "gradient_clipping": {"by": "norm", "threshold": 0.5},
        },
        recording={"every": every, "statistics": EVERYTHING},
    )


def recorded(plan: Plan, data: Data, xla: bool = False) -> dict[str, Float64s]:
    chunks = list(run_of(plan, data, xla=xla).chunks())
    return {name.value: np.concatenate([c.recorded[name] for c in chunks]) for name in plan.recorded}


PHI: dict[str, Any] = {
    "sigmoid": lambda u: 1 / (1 + np.exp(-u)),
    "tanh": np.tanh,
    "relu": lambda u: np.maximum(u, 0),
}


class Reference:
    """The same network, trained step by step with TensorFlow's tape."""

    def __init__(self, plan: Plan, data: Data) -> None:
        self.model = build_model(plan, KerasSession())
        self.activation = plan.spec.model.activation  # type: ignore[union-attr]
        self.data = data

    def step(self, number: int) -> dict[str, Any]:
        """Train one step; return its gradients, weights before, clipped gradients, and hidden (before, after) pairs."""
        batch = slice(8 * (number % 4), 8 * (number % 4) + 8)
        x, y = self.data.x_train[batch], self.data.y_train[batch]
        with tf.GradientTape() as tape:
            loss = keras.losses.SparseCategoricalCrossentropy(dtype="float64")(y, self.model(x, training=True))
        gradients = [np.asarray(g) for g in tape.gradient(loss, [v.value for v in self.model.trainable_variables])]
        weights = [v.numpy() for v in self.model.trainable_variables]
        clipped = [g * 0.5 / max(float(np.linalg.norm(g)), 0.5) for g in gradients]
        hidden, h = [], x
        for kernel, bias in zip(weights[0:4:2], weights[1:4:2], strict=True):
            u = h @ kernel + bias
            h = PHI[self.activation](u)
            hidden.append((u, h))
        for variable, change in zip(self.model.trainable_variables, clipped, strict=True):
            variable.assign_sub(RATE * change)
        return {"gradient": gradients, "weights": weights, "clipped": clipped, "hidden": hidden}


class Values(NamedTuple):
    """One variable at one step."""

    gradient: Float64s
    clipped: Float64s
    weights: Float64s


PER_VARIABLE: dict[str, Any] = {
    "gradient_norm": lambda s: np.linalg.norm(s.gradient),
    "clipped_norm": lambda s: np.linalg.norm(s.clipped),
    "update_ratio": lambda s: RATE * np.linalg.norm(s.clipped) / (np.linalg.norm(s.weights) or np.nan),
    "weight_norm": lambda s: np.linalg.norm(s.weights),
    "zero_fraction": lambda s: np.mean(s.gradient == 0),
    "nonfinite_count": lambda s: np.sum(~np.isfinite(s.gradient)),
    "mean_abs_gradient": lambda s: np.mean(np.abs(s.gradient)),
    "weight_variance": lambda s: np.var(s.weights),
}
SLOPES: dict[str, Any] = {"sigmoid": lambda y: 4 * y * (1 - y), "tanh": lambda y: 1 - y**2}
BEYOND: dict[str, dict[str, tuple[float, float]]] = {
    "sagemaker": {"sigmoid": (-23, 17), "tanh": (-9.5, 9.5)},
    "deepdiagnosis": {"sigmoid": (-5, 5), "tanh": (-5, 5)},
}


def per_activation(name: str, activation: str, u: Float64s, y: Float64s) -> float:
    match name:
        case "activation_mean":
            return float(np.mean(y))
        case "activation_std":
            return float(np.std(y))
        case "saturated_fraction":
            return float(np.mean(SLOPES[activation](y) < 0.01)) if activation in SLOPES else np.nan
        case "dead_fraction":
            return float(np.mean(np.all(y == 0, axis=0)))
        case "fraction_not_positive":
            return float(np.mean(y <= 0))
    bounds = BEYOND[name.removeprefix("fraction_beyond_")].get(activation)
    return float(np.mean((u < bounds[0]) | (u > bounds[1]))) if bounds else np.nan


@pytest.mark.parametrize("xla", [False, True], ids=["graph", "xla"])
@pytest.mark.parametrize("activation", ["sigmoid", "tanh", "relu"])
def test_statistics_equal_their_definitions(activation: str, xla: bool) -> None:
    plan = plan_with(activation)
    data = load(plan)
    reference = Reference(plan, data)
    steps = [reference.step(number) for number in range(8)]

    found = recorded(plan, data, xla)

    for name, definition in PER_VARIABLE.items():
        expected = [
            [definition(Values(*parts)) for parts in zip(*(step[k] for k in Values._fields), strict=True)]
            for step in steps
        ]
        shown = np.where(np.isinf(found[name]), np.nan, found[name])  # the ratio of a weight that is 0
        np.testing.assert_allclose(shown, expected, rtol=1e-9, atol=1e-14, err_msg=name)
    for name in set(found) - set(PER_VARIABLE) - {"inactive_units"}:
        expected = [[per_activation(name, activation, u, y) for u, y in step["hidden"]] for step in steps]
        np.testing.assert_allclose(found[name], expected, rtol=1e-6, atol=1e-12, err_msg=name)
    dead = np.array([[np.all(y == 0, axis=0) for _, y in step["hidden"]] for step in steps])  # [steps, layers, units]
    window = plan.work.steps_per_epoch
    expected = [dead[max(0, s - window + 1) : s + 1].all(axis=0).mean(axis=-1) for s in range(len(steps))]
    np.testing.assert_allclose(found["inactive_units"], expected, rtol=1e-6)
    if activation == "relu":
        assert np.any(found["dead_fraction"] > found["inactive_units"])
    else:
        assert np.any(found["saturated_fraction"] > 0.1)
        assert np.any(found["fraction_beyond_deepdiagnosis"] > 0)


@pytest.fixture(scope="module")
def every_step_of_relu() -> dict[str, Float64s]:
    plan = plan_with("relu")
    return recorded(plan, load(plan))


@pytest.mark.parametrize("every", [3, 100])
def test_recording_every_nth_step_keeps_exactly_these_steps(
    every: int, every_step_of_relu: dict[str, Float64s]
) -> None:
    some = recorded(plan_with("relu", every), load(plan_with("relu")))

    for name, values in every_step_of_relu.items():
        np.testing.assert_array_equal(some[name], values[::every], err_msg=name)


def test_the_choice_of_statistics_does_not_change_the_run() -> None:
    def losses(statistics: list[str]) -> bytes:
        spec = plan_with("tanh", normalization="batch").spec
        recording = spec.recording.model_copy(update={"statistics": tuple(Statistic(s) for s in statistics)})
        plan = plan_of(spec.model_copy(update={"recording": recording}))
        return np.concatenate([chunk.step_loss for chunk in TrainingRun(plan, load(plan)).chunks()]).tobytes()

    assert losses(EVERYTHING) == losses(["gradient_norm"])


def test_a_layer_that_the_loss_does_not_depend_on_has_no_gradient() -> None:
    inputs = keras.Input((3,))
    hidden = keras.layers.Dense(4, activation="relu", name="reached")(inputs)
    aside = keras.layers.Dense(2, name="aside")(hidden)
    model = keras.Model(inputs, [keras.layers.Dense(3, activation="softmax", name="end")(hidden), aside])
    config = json.loads(model.to_json())
    config["config"]["output_layers"] = config["config"]["output_layers"][0]
    plan = plan_of(model={"kind": "keras", "config": config}, data={"source": "blobs", "samples": 40, "features": 3})

    found = recorded(plan, load(plan))

    assert {v.name: v.has_gradient for v in plan.variables} == {
        "reached/kernel": True,
        "reached/bias": True,
        "aside/kernel": False,
        "aside/bias": False,
        "end/kernel": True,
        "end/bias": True,
    }
    assert found["gradient_norm"].shape[1] == 4
