"""Norms at the edges, in graph mode and as XLA compiles them."""

import numpy as np
import numpy.typing as npt
import pytest
import tensorflow as tf

from worker.training.flat_layout import FlatLayout

Values = list[npt.NDArray[np.floating]]
COMPILED = pytest.mark.parametrize("xla", [False, True], ids=["graph", "xla"])


def norms(values: Values, dtype: str, xla: bool) -> npt.NDArray[np.float64]:
    layout = FlatLayout(tuple(value.shape for value in values))
    compiled = tf.function(layout.norms, autograph=False, jit_compile=xla)
    return np.asarray(compiled(tf.constant(layout.flatten_values(values, dtype))), np.float64)


def around(middle: npt.NDArray[np.floating]) -> Values:
    """A variable among others, of its own shape and of another."""
    return [np.full(middle.shape, 2.0), np.full(3, 1.5), middle, np.full(middle.shape, 1.0)]


def assert_others_are_right(found: npt.NDArray[np.float64], values: Values) -> None:
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
def test_a_norm_whose_square_does_not_fit_is_reported_as_it_is(dtype: str, norm: float, xla: bool) -> None:
    values = around(np.full((2, 2), norm / 2))

    found = norms(values, dtype, xla)

    assert found[2] == pytest.approx(norm, rel=1e-6, abs=0)
    assert_others_are_right(found, values)


@COMPILED
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("others", [0.0, 1.0, 1e-30])
def test_one_entry_that_is_not_finite_leaves_its_norm_and_no_other_not_finite(
    dtype: str, bad: float, others: float, xla: bool
) -> None:
    values = around(np.array([[others, others], [bad, others]]))

    found = norms(values, dtype, xla)

    assert not np.isfinite(found[2])
    assert_others_are_right(found, values)


@COMPILED
def test_a_million_entries_whose_squares_are_flushed_still_count(xla: bool) -> None:
    # given one entry that keeps the sum large enough, and others whose squares are below float32
    values = np.full((1000, 1000), 8e-32, np.float32)
    values[0, 0] = 1e-27

    found = norms([values], "float32", xla)

    assert found[0] == pytest.approx(np.linalg.norm(values.astype(np.float64)), rel=1e-5, abs=0)
