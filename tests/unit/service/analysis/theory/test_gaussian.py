"""Gaussian integrals compared with quadrature in two dimensions and with closed forms."""

from functools import cache

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.analysis.theory.activations import ACTIVATIONS
from service.analysis.theory.gaussian import pair_moments, single_moments

Array = npt.NDArray[np.float64]
names = st.sampled_from(sorted(ACTIVATIONS))


def _covariance(first: float, second: float, correlation: float) -> Array:
    shared = correlation * np.sqrt(first * second)
    return np.array([[first, shared], [shared, second]])


@cache
def _grid() -> tuple[Array, Array]:
    """A midpoint rule over ±8 standard deviations, with no node at 0."""
    z = (np.arange(1600) + 0.5) / 100 - 8
    weights = np.exp(-(z**2) / 2)
    return z, weights / weights.sum()


@pytest.mark.parametrize("name", sorted(ACTIVATIONS))
@pytest.mark.parametrize(
    ("first", "second", "correlation", "mean"),
    [(1.0, 1.0, 0.5, 0.0), (0.3, 4.0, 0.9, 0.0), (8.0, 8.0, 0.99, 0.0), (0.2, 0.2, -0.4, 0.0), (1.0, 2.0, 0.3, -0.7)],
)
def test_pair_moments_agree_with_quadrature_in_two_dimensions(
    name: str, first: float, second: float, correlation: float, mean: float
) -> None:
    activation, (z, weights) = ACTIVATIONS[name], _grid()
    u = mean + np.sqrt(first) * z
    v = mean + np.sqrt(second) * (correlation * z[:, None] + np.sqrt(1 - correlation**2) * z)

    moments = pair_moments(activation, np.full(2, mean), _covariance(first, second, correlation))

    assert moments.mean[0] == pytest.approx(weights @ activation(u), rel=1e-3, abs=1e-4)
    expected = weights @ (activation(u) * (activation(v) @ weights))
    assert moments.second[0, 1] == pytest.approx(expected, rel=1e-3, abs=1e-4)
    expected = weights @ (activation.slope(u) * (activation.slope(v) @ weights))
    assert moments.slope[0, 1] == pytest.approx(expected, rel=4e-3)


def test_relu_has_the_arc_cosine_kernels() -> None:
    angle = 2.0  # between the two samples; the expected values are the kernels of Cho and Saul 2009

    moments = pair_moments(ACTIVATIONS["relu"], np.zeros(2), _covariance(3.0, 5.0, np.cos(angle)))

    assert moments.slope[0, 1] == pytest.approx((np.pi - angle) / (2 * np.pi), rel=1e-12)
    ramp = np.sqrt(15) * (np.sin(angle) + (np.pi - angle) * np.cos(angle)) / (2 * np.pi)
    assert moments.second[0, 1] == pytest.approx(ramp, rel=1e-12)


@given(names, st.floats(1e-6, 1e4), st.floats(-2, 2))
def test_two_equal_samples_have_the_moments_of_one(name: str, variance: float, mean: float) -> None:
    pair = pair_moments(ACTIVATIONS[name], np.full(2, mean), np.full((2, 2), variance))
    one = single_moments(ACTIVATIONS[name], variance, mean)

    assert pair.mean == pytest.approx(np.full(2, one.mean), rel=1e-6, abs=1e-9)
    assert pair.second == pytest.approx(np.full((2, 2), one.square), rel=1e-6, abs=1e-12)
    assert pair.slope == pytest.approx(np.full((2, 2), one.slope), rel=1e-6, abs=1e-12)


@given(names, st.integers(1, 9), st.integers(0, 1000))
@settings(max_examples=50)
def test_pair_moments_are_symmetric_and_positive_semidefinite(name: str, samples: int, seed: int) -> None:
    drawn = np.random.default_rng(seed).standard_normal((samples, samples + 1))

    covariance: Array = drawn @ drawn.T

    moments = pair_moments(ACTIVATIONS[name], np.zeros(samples), covariance)

    for second in (moments.second, moments.slope):
        np.testing.assert_allclose(second, second.T, rtol=1e-12)
        assert np.linalg.eigvalsh(second).min() > -1e-6 * np.trace(second)
    assert moments.kurtosis >= 1 - 1e-9
    assert moments.slope_kurtosis >= 1 - 1e-9


@pytest.mark.parametrize("name", sorted(ACTIVATIONS))
def test_few_and_many_samples_give_the_same_sums(name: str) -> None:
    covariance = _covariance(0.7, 2.0, 0.8)

    few = pair_moments(ACTIVATIONS[name], np.zeros(2), covariance)
    many = pair_moments(ACTIVATIONS[name], np.zeros(10), covariance.repeat(5, axis=0).repeat(5, axis=1))

    assert many.second[0, 9] == pytest.approx(few.second[0, 1], rel=1e-7)
    assert many.slope[0, 9] == pytest.approx(few.slope[0, 1], rel=1e-7)


@pytest.mark.parametrize("name", sorted(ACTIVATIONS))
def test_the_growth_of_the_square_is_its_derivative_with_respect_to_the_variance(name: str) -> None:
    activation, step = ACTIVATIONS[name], 1e-5

    below, above = (single_moments(activation, q).square for q in (1.3 - step, 1.3 + step))

    assert single_moments(activation, 1.3).growth == pytest.approx((above - below) / (2 * step), rel=1e-6)


def test_a_sample_of_zeros_has_the_moments_of_the_activation_at_zero() -> None:
    moments = pair_moments(ACTIVATIONS["sigmoid"], np.zeros(2), np.diag([0.0, 1.0]))

    assert moments.second[0, 0] == pytest.approx(0.25)
    assert moments.second[0, 1] == pytest.approx(0.25)
    assert moments.slope[0, 0] == pytest.approx(1 / 16)


@pytest.mark.parametrize("name", sorted(ACTIVATIONS))
@pytest.mark.parametrize("mean", [0.0, 0.4])
def test_elasticities_are_logarithmic_derivatives(name: str, mean: float) -> None:
    step = 1e-4

    def squares(logarithm: float) -> Array:
        found = pair_moments(ACTIVATIONS[name], np.array([mean]), np.array([[variance * np.exp(logarithm)]]))
        return np.log([found.second[0, 0], found.slope[0, 0]])

    variance = 1.3
    found = pair_moments(ACTIVATIONS[name], np.array([mean]), np.array([[variance]]))

    # With respect to E[u²] = q + m² at constant m.
    derivative = (squares(step) - squares(-step)) / (2 * step) * (variance + mean**2) / variance
    assert [found.elasticity, found.slope_elasticity] == pytest.approx(derivative, abs=2e-3)
