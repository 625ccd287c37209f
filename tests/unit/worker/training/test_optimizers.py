"""Update rules against Keras's own."""

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
    "adamw": keras.optimizers.Adam,  # its decay is the program's part (test_training_options)
    "sgd": keras.optimizers.SGD,
    "rmsprop": keras.optimizers.RMSprop,
    "adagrad": keras.optimizers.Adagrad,
}

rates = st.floats(2.0**-20, 8.0, width=32)  # Keras keeps the learning rate as float32
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


def ours(told: dict[str, Any], gradients: Float64s) -> Float64s:
    """Weights after each update."""
    spec = SPEC.validate_python(told)
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


def theirs(told: dict[str, Any], gradients: Float64s) -> Float64s:
    parameters = {key: value for key, value in told.items() if key != "name"}
    optimizer = KERAS[told["name"]](**parameters)
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


@settings(deadline=None, max_examples=40)
@given(optimizers)
def test_an_optimizer_is_that_of_keras(gradients: Float64s, told: dict[str, Any]) -> None:
    # The mean square less the squared mean is a difference of nearly equal numbers; float32 constants go in above.
    tolerance = 1e-5 if told.get("centered") else 1e-6 if told["name"] in ("rmsprop", "adagrad") else 1e-10

    np.testing.assert_allclose(ours(told, gradients), theirs(told, gradients), rtol=tolerance)


@pytest.mark.parametrize("name", KERAS)
def test_a_learning_rate_that_is_off_by_a_thousandth_is_noticed(gradients: Float64s, name: str) -> None:
    wrong = {"name": name, "learning_rate": 0.125 * 1.001}

    with pytest.raises(AssertionError):
        np.testing.assert_allclose(
            ours(wrong, gradients), theirs({"name": name, "learning_rate": 0.125}, gradients), rtol=1e-5
        )
