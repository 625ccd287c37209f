"""Activations compared with Keras, and their derivatives with finite differences."""

from typing import get_args

import numpy as np
import pytest

from service.analysis.theory.activations import ACTIVATIONS
from service.contract.model_spec import HiddenActivation


def test_every_activation_of_an_mlp_is_covered() -> None:
    assert set(ACTIVATIONS) == set(get_args(HiddenActivation))


@pytest.mark.parametrize("name", sorted(ACTIVATIONS))
def test_values_equal_those_of_keras(name: str) -> None:
    import keras

    u = np.linspace(-12, 12, 401)

    expected = np.asarray(keras.activations.get(name)(keras.ops.convert_to_tensor(u, dtype="float64")))

    np.testing.assert_allclose(ACTIVATIONS[name](u), expected, rtol=1e-6, atol=1e-8)  # Keras has √2 in float32


@pytest.mark.parametrize("name", sorted(ACTIVATIONS))
def test_the_slope_equals_the_derivative(name: str) -> None:
    u, step = np.linspace(-9.03, 9, 300), 1e-6  # no point lies at the kink
    activation = ACTIVATIONS[name]

    by_difference = (activation(u + step) - activation(u - step)) / (2 * step)

    np.testing.assert_allclose(activation.slope(u), by_difference, atol=1e-8)


@pytest.mark.parametrize("name", sorted(ACTIVATIONS))
def test_only_activations_that_scale_with_their_input_are_homogeneous(name: str) -> None:
    u, activation = np.linspace(-3, 3, 50), ACTIVATIONS[name]

    assert activation.is_homogeneous == np.allclose(activation(2.5 * u), 2.5 * activation(u))
