"""Update rules equal those of Keras."""

from typing import Any

import keras
import numpy as np
import numpy.typing as npt
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter

from service.contract.training_spec import OptimizerSpec
from worker.training.optimizers import optimizer_for

Float64s = npt.NDArray[np.float64]

SPEC: TypeAdapter[OptimizerSpec] = TypeAdapter(OptimizerSpec)
KERAS = {
    "adam": keras.optimizers.Adam,
    "adamw": keras.optimizers.Adam,  # the program applies its weight decay (test_training_options)
    "sgd": keras.optimizers.SGD,
    "rmsprop": keras.optimizers.RMSprop,
    "adagrad": keras.optimizers.Adagrad,
}

rates = st.floats(2.0**-20, 8.0, width=32)  # Keras holds the learning rate as float32
decays = st.floats(0.0, 0.9999)
epsilons = st.floats(1e-10, 1e-3)
momenta = st.one_of(st.just(0.0), st.floats(0.01, 0.99))
optimizers = st.one_of(
    st.fixed_dictionaries(
        {
            "name": st.sampled_from(["adam", "adamw"]),
            "learning_rate": rates,
            "beta_1": decays,
            "beta_2": decays,
            "epsilon": epsilons,
            "amsgrad": st.booleans(),
        }
    ),
    st.fixed_dictionaries(
        {"name": st.just("sgd"), "learning_rate": rates, "momentum": momenta, "nesterov": st.booleans()}
    ),
    st.fixed_dictionaries(
        {
            "name": st.just("rmsprop"),
            "learning_rate": rates,
            "rho": decays,
            "momentum": momenta,
            "epsilon": epsilons,
            "centered": st.booleans(),
        }
    ),
    st.fixed_dictionaries(
        {
            "name": st.just("adagrad"),
            "learning_rate": rates,
            "initial_accumulator_value": st.floats(0, 1),
            "epsilon": epsilons,
        }
    ),
)


def ours(parameters: dict[str, Any], gradients: Float64s) -> Float64s:
    """Weights after each update."""
    spec = SPEC.validate_python(parameters)
    optimizer = optimizer_for(spec)
    weights = tf.zeros(gradients.shape[1], tf.float64)
    slots = optimizer.initial_slots(weights)
    rate = tf.constant(spec.learning_rate, tf.float64)
    seen = []
    for number, gradient in enumerate(gradients, start=1):
        step = tf.constant(float(number), tf.float64)
        hyperparameters = tf.constant(optimizer.hyperparameters())
        change, slots = optimizer.update(tf.constant(gradient), slots, step, rate, hyperparameters)
        weights += change
        seen.append(np.asarray(weights))
    return np.array(seen)


def theirs(named: dict[str, Any], gradients: Float64s) -> Float64s:
    parameters = {key: value for key, value in named.items() if key != "name"}
    optimizer = KERAS[named["name"]](**parameters)
    weights = keras.Variable(np.zeros(gradients.shape[1]), dtype="float64")
    optimizer.build([weights])
    seen = []
    for gradient in gradients:
        optimizer.apply([tf.constant(gradient)])
        seen.append(np.asarray(weights))
    return np.array(seen)


@pytest.fixture(scope="module")
def gradients() -> Float64s:
    return np.random.default_rng(0).standard_normal((6, 20)) * np.logspace(-8, 3, 20)


def assert_close_to_keras(mine: Float64s, expected: Float64s, tolerance: float) -> None:
    """Compare relative to the largest update of each weight: updates that cancel leave few digits of the weight."""
    updates = np.diff(expected, axis=0, prepend=0.0)
    largest = np.max(np.abs(updates), axis=0)
    np.testing.assert_allclose(mine / largest, expected / largest, rtol=0, atol=tolerance)


@settings(deadline=None, max_examples=60)
@given(optimizers)
def test_an_optimizer_updates_as_in_keras(gradients: Float64s, parameters: dict[str, Any]) -> None:
    assert_close_to_keras(ours(parameters, gradients), theirs(parameters, gradients), 1e-13)


def test_updates_that_cancel_equal_those_of_keras(gradients: Float64s) -> None:
    # Each update is nearly the sign of the gradient: after one up and one down, some weights are rounding errors only.
    tiny = {"beta_1": 1e-10, "beta_2": 1e-10, "epsilon": 1e-10}
    parameters = {"name": "adam", "learning_rate": 0.7383659482002258, **tiny}

    assert_close_to_keras(ours(parameters, gradients), theirs(parameters, gradients), 1e-13)


@pytest.mark.parametrize("name", KERAS)
def test_the_comparison_detects_a_learning_rate_that_is_wrong_by_a_thousandth(gradients: Float64s, name: str) -> None:
    wrong = {"name": name, "learning_rate": 0.125 * 1.001}

    with pytest.raises(AssertionError):
        assert_close_to_keras(ours(wrong, gradients), theirs({"name": name, "learning_rate": 0.125}, gradients), 1e-13)
