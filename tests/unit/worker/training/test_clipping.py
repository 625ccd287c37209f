"""Clipping equals what Keras's optimizers do to the gradient."""

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Literal

import keras
import numpy as np
import numpy.typing as npt
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from service.contract.training_spec import GradientClipping
from worker.training.clipping import clipped_gradient
from worker.training.flat_layout import FlatLayout

Float64s = npt.NDArray[np.float64]
Shapes = tuple[tuple[int, ...], ...]
By = Literal["value", "norm", "global_norm"]
How = Literal["eager", "graph", "xla"]

SHAPES = ((3, 4), (4,), (4, 4), (4,), (4, 1), (1,))
KERAS = {"value": "clipvalue", "norm": "clipnorm", "global_norm": "global_clipnorm"}
BY = pytest.mark.parametrize("by", KERAS)


@lru_cache(maxsize=16)
def clipping_of(shapes: Shapes, by: By, how: How) -> tuple[FlatLayout, Callable[[tf.Tensor, tf.Tensor], tf.Tensor]]:
    """A layout, and the clipping of its vectors by a threshold; compiled once per dtype."""
    layout, spec = FlatLayout(shapes), GradientClipping(by=by, threshold=1.0)  # whose threshold is not read

    def clip(flat: tf.Tensor, threshold: tf.Tensor) -> tf.Tensor:
        return clipped_gradient(flat, layout.norms(flat), layout, spec, threshold)

    return layout, clip if how == "eager" else tf.function(clip, autograph=False, jit_compile=how == "xla")


def ours(
    values: list[Float64s], by: By, threshold: float, *, how: How = "eager", dtype: str = "float64"
) -> list[Float64s]:
    layout, clip = clipping_of(tuple(value.shape for value in values), by, how)
    clipped = clip(tf.constant(layout.flatten_values(values, dtype)), tf.constant(threshold, tf.float64))
    return [part.astype(np.float64) for part in layout.split_values(clipped.numpy())]


def theirs(values: list[Float64s], by: By, threshold: float, dtype: str = "float64") -> list[Float64s]:
    """What plain gradient descent with learning rate 1 subtracts."""
    optimizer = keras.optimizers.SGD(1.0, **{KERAS[by]: threshold})
    variables = [keras.Variable(np.zeros(value.shape), dtype=dtype) for value in values]
    optimizer.build(variables)
    optimizer.apply([tf.constant(value, dtype) for value in values])
    return [-np.asarray(variable, np.float64) for variable in variables]


def drawn(seed: int, scales: Sequence[float], shapes: Sequence[tuple[int, ...]] = SHAPES) -> list[Float64s]:
    random = np.random.default_rng(seed)
    return [random.standard_normal(shape) * scale for shape, scale in zip(shapes, scales, strict=True)]


def variables_of(*magnitudes: float) -> st.SearchStrategy[list[tuple[tuple[int, ...], float]]]:
    """Draw the shape and the magnitude of each variable."""
    shape = st.lists(st.integers(1, 4), min_size=1, max_size=2).map(tuple)
    return st.lists(st.tuples(shape, st.sampled_from([0.0, *magnitudes])), min_size=1, max_size=6)


@BY
@settings(deadline=None, max_examples=30)
@given(
    seed=st.integers(0, 99),
    variables=variables_of(1e-30, 1e-12, 1e-3, 1.0, 30.0, 1e6, 1e30),
    threshold=st.sampled_from([1e-30, 1e-4, 0.7, 1e3, 1e30]),
)
def test_a_clipped_gradient_equals_that_of_keras(
    by: By, seed: int, variables: list[tuple[tuple[int, ...], float]], threshold: float
) -> None:
    shapes, scales = zip(*variables, strict=True)
    values = drawn(seed, scales, shapes)

    for mine, keras_own in zip(ours(values, by, threshold), theirs(values, by, threshold), strict=True):
        np.testing.assert_allclose(mine, keras_own, rtol=1e-6)  # Keras rounds the threshold to float32


@BY
@settings(deadline=None, max_examples=20)
@given(seed=st.integers(0, 99), variables=variables_of(1e-6, 1e-3, 1.0, 1e4), threshold=st.floats(1e-4, 1e3))
def test_a_clipped_float32_gradient_equals_that_of_keras(
    by: By, seed: int, variables: list[tuple[tuple[int, ...], float]], threshold: float
) -> None:
    shapes, scales = zip(*variables, strict=True)
    values = drawn(seed, scales, shapes)
    made, expected = ours(values, by, threshold, dtype="float32"), theirs(values, by, threshold, "float32")

    for mine, keras_own in zip(made, expected, strict=True):
        np.testing.assert_allclose(mine, keras_own, rtol=1e-5)


@BY
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_xla_clips_as_eager_mode_does(by: By, dtype: str) -> None:
    values = drawn(1, [1.0, 1e-3, 30.0, 0.0, 1.0, 5.0])

    for plain, compiled in zip(
        ours(values, by, 0.7, dtype=dtype), ours(values, by, 0.7, dtype=dtype, how="xla"), strict=True
    ):
        np.testing.assert_allclose(compiled, plain, rtol=1e-6)


@pytest.mark.parametrize("scale", [1e-30, 1e30])
def test_norms_whose_squares_underflow_or_overflow_are_clipped(scale: float) -> None:
    values = drawn(2, [scale] * 6)
    norm = float(np.sqrt(sum(np.sum((value / scale) ** 2) for value in values))) * scale

    together = ours(values, "global_norm", norm / 2, dtype="float32")
    each = ours(values, "norm", scale * 1e-3, dtype="float32")

    np.testing.assert_allclose(together[0], values[0] / 2, rtol=1e-5)
    assert all(np.linalg.norm(part) == pytest.approx(scale * 1e-3, rel=1e-5) for part in each)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_gradient_that_is_not_finite_is_nan_everywhere_after_clipping_by_global_norm(bad: float) -> None:
    values = drawn(3, [1.0] * 6)
    values[2][0, 0] = bad

    assert all(np.isnan(part).all() for part in ours(values, "global_norm", 1.0))
    assert all(np.isfinite(part).all() for part in ours(values, "norm", 1.0)[:2])


@BY
@pytest.mark.parametrize("how", ["eager", "graph", "xla"])
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_gradient_that_is_not_finite_is_clipped_as_in_keras(by: By, how: How, bad: float) -> None:
    values = drawn(3, [1.0] * 6)
    values[2][0, 0] = bad

    made, expected = ours(values, by, 0.7, how=how, dtype="float32"), theirs(values, by, 0.7, "float32")

    for mine, keras_own in zip(made, expected, strict=True):
        np.testing.assert_allclose(mine, keras_own, rtol=1e-5)


@BY
@pytest.mark.parametrize("how", ["eager", "graph", "xla"])
@pytest.mark.parametrize("threshold", [1e-300, 0.7, 1e300])
def test_a_zero_gradient_stays_zero_for_any_threshold(by: By, how: How, threshold: float) -> None:
    zeros = drawn(4, [0.0] * 6)

    assert not any(part.any() for part in ours(zeros, by, threshold, how=how, dtype="float32"))


@BY
@pytest.mark.parametrize("how", ["eager", "graph", "xla"])
def test_a_threshold_beyond_float32_clips_nothing(by: By, how: How) -> None:
    values = drawn(5, [1.0, 0.0, 1e-3, 30.0, 1.0, 1.0])

    for mine, value in zip(ours(values, by, 1e300, how=how, dtype="float32"), values, strict=True):
        np.testing.assert_array_equal(mine, value.astype(np.float32))
