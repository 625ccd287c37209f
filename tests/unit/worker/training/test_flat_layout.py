"""Flat vectors of variables, and norms that neither underflow nor overflow."""

import math

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from worker.training.flat_layout import FlatLayout

SHAPES = ((3, 4), (4,), (4, 4), (4,), (4, 4), (4, 1), (1,))


def _values(scales: list[float], dtype: str) -> list[np.ndarray[tuple[int, ...], np.dtype[np.floating]]]:
    random = np.random.default_rng(0)
    return [(random.standard_normal(s) * scale).astype(dtype) for s, scale in zip(SHAPES, scales, strict=True)]


def test_splitting_undoes_flattening() -> None:
    layout = FlatLayout(SHAPES)
    values = _values([1.0] * len(SHAPES), "float32")

    flat = layout.flatten_values(values, "float32")

    np.testing.assert_array_equal(flat, np.asarray(layout.flatten(dict(enumerate(map(tf.constant, values))))))
    for i, value in enumerate(values):
        np.testing.assert_array_equal(np.asarray(layout.split(tf.constant(flat))[i]), value)
        np.testing.assert_array_equal(layout.split_values(flat)[i], value)


def test_a_stack_is_one_tensor_in_the_order_of_its_members() -> None:
    layout = FlatLayout(((4,), (2, 3), (4,), (2, 3), (4,), (4,)), stacks=((0, 4), (2, 5)))
    values = [np.full(shape, float(i)) for i, shape in enumerate(layout.shapes)]

    parts = layout.split(tf.constant(layout.flatten_values(values, "float64")))

    assert sorted(parts) == [0, 1, 2, 3]
    np.testing.assert_array_equal(parts[0], [values[0], values[4]])
    np.testing.assert_array_equal(parts[2], [values[2], values[5]])
    np.testing.assert_array_equal(parts[3], values[3])
    np.testing.assert_array_equal(layout.flatten(parts), layout.flatten_values(values, "float64"))
    norms = layout.norms(tf.constant(layout.flatten_values(values, "float64")))
    np.testing.assert_allclose(norms, [np.linalg.norm(value) for value in values])


@settings(deadline=None, max_examples=60)
@given(st.lists(st.floats(-32, 12), min_size=len(SHAPES), max_size=len(SHAPES)))
def test_float32_norms_are_right_over_forty_decades(exponents: list[float]) -> None:
    layout = FlatLayout(SHAPES)
    values = _values([10.0**e for e in exponents], "float32")

    norms = np.asarray(layout.norms(tf.constant(layout.flatten_values(values, "float32"))))

    exact = [np.linalg.norm(v.astype(np.float64)) for v in values]
    np.testing.assert_allclose(norms, exact, rtol=1e-5)


@settings(deadline=None, max_examples=30)
@given(st.lists(st.floats(-300, 150), min_size=len(SHAPES), max_size=len(SHAPES)))
def test_float64_norms_are_right_over_450_decades(exponents: list[float]) -> None:
    layout = FlatLayout(SHAPES)
    values = _values([10.0**e for e in exponents], "float64")

    norms = np.asarray(layout.norms(tf.constant(layout.flatten_values(values, "float64"))))

    exact = [float(np.max(np.abs(v)) * np.linalg.norm(v / np.max(np.abs(v)))) for v in values]
    np.testing.assert_allclose(norms, exact, rtol=1e-12)


@pytest.mark.parametrize(("dtype", "tiny"), [("float32", 1e-30), ("float64", 1e-300)])
def test_a_tiny_norm_does_not_underflow(dtype: str, tiny: float) -> None:
    layout = FlatLayout(((2, 2), (2,)))
    flat = tf.constant(layout.flatten_values([np.full((2, 2), tiny / 2), np.ones(2)], dtype))

    small, large = np.asarray(layout.norms(flat))

    assert small == pytest.approx(tiny, rel=1e-5)
    assert large == pytest.approx(math.sqrt(2), rel=1e-6)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("broken", [0.0, math.nan, math.inf])
def test_a_norm_that_is_zero_or_not_finite_does_not_affect_the_others(dtype: str, broken: float) -> None:
    layout = FlatLayout(((2,), (2,), (3,)))
    flat = tf.constant(layout.flatten_values([np.full(2, broken), np.full(2, 1.0), np.full(3, 2.0)], dtype))

    first, second, third = np.asarray(layout.norms(flat))

    assert first == 0 if broken == 0 else not np.isfinite(first)
    assert second == pytest.approx(math.sqrt(2), rel=1e-6)
    assert third == pytest.approx(math.sqrt(12), rel=1e-6)


shapes = st.lists(st.lists(st.integers(1, 4), min_size=1, max_size=3).map(tuple), min_size=1, max_size=8)


@settings(deadline=None, max_examples=40)
@given(shapes)
def test_spread_repeats_each_value_over_the_entries_of_its_variable(shapes: list[tuple[int, ...]]) -> None:
    layout = FlatLayout(tuple(shapes))
    values = np.arange(1.0, len(shapes) + 1)
    expected = layout.flatten_values([np.full(s, v) for s, v in zip(shapes, values, strict=True)], "float64")

    np.testing.assert_array_equal(np.asarray(layout.spread(tf.constant(values))), expected)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_spread_computes_the_same_under_xla(dtype: str) -> None:
    layout = FlatLayout(SHAPES)
    values = tf.constant(np.arange(len(SHAPES)), dtype)
    compiled = tf.function(layout.spread, jit_compile=True)(values)

    assert compiled.dtype == dtype
    np.testing.assert_array_equal(np.asarray(compiled), np.asarray(layout.spread(values)))


def test_spread_takes_no_more_operations_for_more_equal_layers() -> None:
    def operations(layers: int) -> int:
        spread = tf.function(FlatLayout(((4, 4), (4,)) * layers).spread, autograph=False)
        return len(spread.get_concrete_function(tf.TensorSpec([2 * layers], tf.float32)).graph.get_operations())

    assert operations(11) == operations(2)
