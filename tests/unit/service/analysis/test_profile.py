"""Slope and level of a profile."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.analysis.profile import levels, slope, slopes


@given(st.floats(-2, 2), st.integers(4, 30))
def test_the_slope_of_a_geometric_profile_is_its_exponent(decades: float, kernels: int) -> None:
    norms = [10.0 ** (decades * depth) for depth in range(kernels)]

    assert slope(norms) == pytest.approx(decades, abs=1e-9)


def test_the_first_kernel_and_the_output_kernel_do_not_affect_the_slope() -> None:
    assert slope([1e9, 1e-3, 1e-2, 1e-1, 1e-9]) == pytest.approx(1.0)


def test_a_gradient_that_shrinks_towards_the_input_has_a_positive_slope() -> None:
    assert slope([1e-4, 1e-3, 1e-2, 1e-1, 1.0]) == pytest.approx(1.0)
    assert slope([1.0, 1e-1, 1e-2, 1e-3, 1e-4]) == pytest.approx(-1.0)


def test_a_slope_needs_two_usable_hidden_kernels() -> None:
    assert slope([]) is None
    assert slope([1.0, math.inf, math.inf, 1.0]) is None
    assert slope([1.0, 1.0, 1.0]) is None
    assert slope([1.0, 0.0, math.nan, 1.0, 1.0]) is None
    assert slope([1.0, 1.0, 0.0, 100.0, 1.0]) == pytest.approx(1.0)  # the gap is skipped


rows = st.lists(
    st.lists(st.sampled_from([0.0, math.nan, math.inf, 1e-30, 0.1, 1.0, 7.0, 1e20]), min_size=6, max_size=6),
    min_size=1,
    max_size=5,
)


@given(rows)
def test_slopes_and_levels_of_many_runs_equal_those_of_each_run(norms: list[list[float]]) -> None:
    for row, many, level in zip(norms, slopes(norms), levels(norms), strict=True):
        one = slope(row)
        assert (one is None and math.isnan(many)) or one == pytest.approx(many, abs=1e-9)
        usable = [math.log10(norm) for norm in row[1:-1] if norm > 0 and math.isfinite(norm)]
        assert level == pytest.approx(np.mean(usable)) if usable else math.isnan(level)


def test_two_kernels_have_neither_slope_nor_level() -> None:
    assert np.isnan(slopes([[1.0, 2.0]])).all()
    assert np.isnan(levels([[1.0, 2.0]])).all()
