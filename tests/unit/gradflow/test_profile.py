"""The profile that the command line shows."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gradflow import profile
from service.analysis import profile as of_server

norms = st.lists(st.sampled_from([0.0, math.nan, math.inf, 1e-30, 0.1, 1.0, 7.0, 1e20]), max_size=8)


@given(st.floats(-2, 2), st.integers(4, 30))
def test_a_geometric_profile_has_its_exponent_as_slope_and_loses_it_between_hidden_kernels(
    decades: float, kernels: int
) -> None:
    norms = [10.0 ** (decades * depth) for depth in range(kernels)]

    assert profile.slope(norms) == pytest.approx(decades, abs=1e-9)
    assert profile.decades_lost(norms) == pytest.approx(decades * (kernels - 2), abs=1e-9)


@given(norms)
def test_the_command_line_and_the_server_compute_the_same_slope(norms: list[float]) -> None:
    assert profile.slope(norms) == of_server.slope(norms)


def test_no_decades_are_counted_from_zero_or_from_a_norm_that_is_not_finite() -> None:
    assert profile.decades_lost([0.0, 1.0, 1.0]) is None
    assert profile.decades_lost([1.0, math.inf, 1.0]) is None
    assert profile.decades_lost([1.0]) is None
