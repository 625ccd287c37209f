"""Slope and decades lost of a profile of gradient norms."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gradflow import profile
from service.analysis import profile as server_profile

norms = st.lists(st.sampled_from([0.0, math.nan, math.inf, 1e-30, 0.1, 1.0, 7.0, 1e20]), max_size=8)


@given(st.floats(-2, 2), st.integers(4, 30))
def test_the_slope_of_a_geometric_profile_is_its_exponent(decades: float, kernels: int) -> None:
    norms = [10.0 ** (decades * depth) for depth in range(kernels)]

    assert profile.slope(norms) == pytest.approx(decades, abs=1e-9)
    assert profile.decades_lost(norms) == pytest.approx(decades * (kernels - 2), abs=1e-9)


@given(norms)
def test_the_command_line_and_the_server_compute_the_same_slope(norms: list[float]) -> None:
    assert profile.slope(norms) == server_profile.slope(norms)


def test_decades_lost_are_unknown_if_a_norm_is_zero_or_not_finite() -> None:
    assert profile.decades_lost([0.0, 1.0, 1.0]) is None
    assert profile.decades_lost([1.0, math.inf, 1.0]) is None
    assert profile.decades_lost([1.0]) is None
