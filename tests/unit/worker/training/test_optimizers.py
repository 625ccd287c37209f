"""Update rules against Keras's own."""

from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from service.contract.spec import Adam, OptimizerSpec, Sgd
from worker.training.optimizers import optimizer_for

rates = st.floats(2.0**-20, 8.0, width=32)  # Keras keeps the learning rate as float32
decays = st.floats(0.0, 0.9999)


def _ours(spec: OptimizerSpec, gradients: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    optimizer = optimizer_for(spec)
    weights = tf.zeros(gradients.shape[1], tf.float64)
    slots = tuple(tf.zeros_like(weights) for _ in range(optimizer.slots))
    for number, gradient in enumerate(gradients, start=1):
        step = tf.constant(float(number), tf.float64)
        change, slots = optimizer.update(tf.constant(gradient), slots, step, tf.constant(optimizer.hyperparameters()))
        weights += change
    return np.asarray(weights)


def _theirs(optimizer: keras.optimizers.Optimizer, gradients: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    weights = keras.Variable(np.zeros(gradients.shape[1]), dtype="float64")
    optimizer.build([weights])
    for gradient in gradients:
        optimizer.apply([tf.constant(gradient)])
    return np.asarray(weights)


@pytest.fixture(scope="module")
def gradients() -> np.ndarray[Any, Any]:
    return np.random.default_rng(0).standard_normal((6, 20)) * np.logspace(-8, 3, 20)


@settings(deadline=None, max_examples=8)
@given(rate=rates, beta_1=decays, beta_2=decays, epsilon=st.floats(1e-10, 1e-3))
def test_adam_is_that_of_keras(
    gradients: np.ndarray[Any, Any], rate: float, beta_1: float, beta_2: float, epsilon: float
) -> None:
    ours = _ours(Adam(learning_rate=rate, beta_1=beta_1, beta_2=beta_2, epsilon=epsilon), gradients)
    theirs = _theirs(keras.optimizers.Adam(rate, beta_1, beta_2, epsilon=epsilon), gradients)

    np.testing.assert_allclose(ours, theirs, rtol=1e-10)


@settings(deadline=None, max_examples=8)
@given(rate=rates, momentum=decays)
def test_sgd_is_that_of_keras(gradients: np.ndarray[Any, Any], rate: float, momentum: float) -> None:
    ours = _ours(Sgd(learning_rate=rate, momentum=momentum), gradients)
    theirs = _theirs(keras.optimizers.SGD(rate, momentum), gradients)

    np.testing.assert_allclose(ours, theirs, rtol=1e-10)
