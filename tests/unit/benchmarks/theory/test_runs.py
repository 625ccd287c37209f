"""The agreement of given norms with given predictions."""

import numpy as np
import pytest

from benchmarks.theory.runs import Agreement

SPREAD = np.full((4, 2), 0.1)
PREDICTED = np.array([[-1.0, -2.0]] * 4)


def test_a_layer_agrees_if_its_mean_error_over_runs_is_within_the_spread() -> None:
    errors = np.array([[0.3, 0.3], [-0.3, 0.1], [0.09, 0.1], [-0.09, 0.0]])  # means 0 and 0.125

    found = Agreement.of(PREDICTED + errors, PREDICTED, SPREAD)

    assert found.layers == 0.5
    assert found.outside == {1: pytest.approx((0.125, 0.1))}
    assert found.profile_error == pytest.approx(0.125 / np.sqrt(2))


def test_single_runs_are_compared_with_their_own_spread() -> None:
    errors = np.array([[0.05, 0.05], [0.15, -0.15], [0.25, 0.05], [-0.05, 0.25]])

    found = Agreement.of(PREDICTED + errors, PREDICTED, SPREAD)

    assert (found.within_one, found.within_two) == (0.5, 0.75)


def test_a_missing_measurement_counts_as_a_disagreement() -> None:
    measured = PREDICTED.copy()
    measured[0, 0] = np.nan

    found = Agreement.of(measured, PREDICTED, SPREAD)

    assert (found.layers, found.within_two) == (0.5, 7 / 8)


def test_a_spread_of_zero_allows_no_error() -> None:
    found = Agreement.of(PREDICTED + 0.01, PREDICTED, np.zeros_like(PREDICTED))

    assert (found.layers, found.within_one) == (0.0, 0.0)
