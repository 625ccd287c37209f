"""Slopes of profiles."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.analysis.profile import decades_lost, slope


@given(st.floats(-2, 2), st.integers(4, 30))
def test_a_geometric_profile_has_its_exponent_as_slope(decades: float, kernels: int) -> None:
    norms = [10.0 ** (decades * depth) for depth in range(kernels)]

    assert slope(norms) == pytest.approx(decades, abs=1e-9)
    assert decades_lost(norms) == pytest.approx(decades * (kernels - 2), abs=1e-9)


def test_the_first_and_the_output_kernel_do_not_bend_the_slope() -> None:
    assert slope([1e9, 1e-3, 1e-2, 1e-1, 1e-9]) == pytest.approx(1.0)


def test_a_gradient_that_shrinks_towards_the_input_has_a_positive_slope() -> None:
    assert slope([1e-4, 1e-3, 1e-2, 1e-1, 1.0]) == pytest.approx(1.0)
    assert slope([1.0, 1e-1, 1e-2, 1e-3, 1e-4]) == pytest.approx(-1.0)


def test_two_usable_hidden_kernels_are_needed() -> None:
    assert slope([]) is None
    assert slope([1.0, math.inf, math.inf, 1.0]) is None
    assert slope([1.0, 1.0, 1.0]) is None
    assert slope([1.0, 0.0, math.nan, 1.0, 1.0]) is None
    assert slope([1.0, 1.0, 0.0, 100.0, 1.0]) == pytest.approx(1.0)  # over the gap


def test_no_decades_are_counted_from_zero_or_what_is_not_finite() -> None:
    assert decades_lost([0.0, 1.0, 1.0]) is None
    assert decades_lost([1.0, math.inf, 1.0]) is None
    assert decades_lost([1.0]) is None
