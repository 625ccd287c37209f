"""Norms at the limits of their dtype, in graph mode and under XLA."""

from collections.abc import Callable
from functools import cache

import numpy as np
import numpy.typing as npt
import pytest
import tensorflow as tf

from worker.training.flat_layout import FlatLayout

Values = list[npt.NDArray[np.floating]]
COMPILED = pytest.mark.parametrize("xla", [False, True], ids=["graph", "xla"])


@cache
def norms_of(shapes: tuple[tuple[int, ...], ...], xla: bool) -> tuple[FlatLayout, Callable[[tf.Tensor], tf.Tensor]]:
    """A layout, and its norms as a function that is compiled once per dtype."""
    layout = FlatLayout(shapes)
    return layout, tf.function(layout.norms, autograph=False, jit_compile=xla)


def norms(values: Values, dtype: str, xla: bool) -> npt.NDArray[np.float64]:
    layout, compiled = norms_of(tuple(value.shape for value in values), xla)
    return np.asarray(compiled(tf.constant(layout.flatten_values(values, dtype))), np.float64)


def around(middle: npt.NDArray[np.floating]) -> Values:
    """A variable between others, two of them of its own shape and one of another."""
    return [np.full(middle.shape, 2.0), np.full(3, 1.5), middle, np.full(middle.shape, 1.0)]


def assert_other_norms_are_right(found: npt.NDArray[np.float64], values: Values) -> None:
    for i in (0, 1, 3):
        assert found[i] == pytest.approx(np.linalg.norm(values[i]), rel=1e-6)


@COMPILED
@pytest.mark.parametrize(
    ("dtype", "norm"),
    [
        ("float32", 0.0),
        ("float32", 1e-30),
        ("float32", 1e30),
        ("float64", 0.0),
        ("float64", 1e-300),
        ("float64", 1e300),
    ],
)
def test_a_norm_whose_square_underflows_or_overflows_is_right(dtype: str, norm: float, xla: bool) -> None:
    values = around(np.full((2, 2), norm / 2))

    found = norms(values, dtype, xla)

    assert found[2] == pytest.approx(norm, rel=1e-6, abs=0)
    assert_other_norms_are_right(found, values)


@COMPILED
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("others", [0.0, 1.0, 1e-30])
def test_an_entry_that_is_not_finite_affects_the_norm_of_its_own_variable_only(
    dtype: str, bad: float, others: float, xla: bool
) -> None:
    values = around(np.array([[others, others], [bad, others]]))

    found = norms(values, dtype, xla)

    assert not np.isfinite(found[2])
    assert_other_norms_are_right(found, values)


@COMPILED
def test_a_million_entries_whose_squares_underflow_still_count(xla: bool) -> None:
    # given one entry that makes the sum large enough, and others whose squares underflow in float32
    values = np.full((1000, 1000), 8e-32, np.float32)
    values[0, 0] = 1e-27

    found = norms([values], "float32", xla)

    assert found[0] == pytest.approx(np.linalg.norm(values.astype(np.float64)), rel=1e-5, abs=0)
