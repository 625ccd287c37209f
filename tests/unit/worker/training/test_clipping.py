"""Clipping against what Keras's optimizers do to the gradient."""

from typing import Literal

import keras
import numpy as np
import numpy.typing as npt
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from service.contract.training_spec import GradientClipping
from worker.training.clipping import clipped
from worker.training.layout import FlatLayout

Float64s = npt.NDArray[np.float64]
By = Literal["value", "norm", "global_norm"]

SHAPES = ((3, 4), (4,), (4, 4), (4,), (4, 1), (1,))
LAYOUT = FlatLayout(SHAPES)
KERAS = {"value": "clipvalue", "norm": "clipnorm", "global_norm": "global_clipnorm"}
WAYS = pytest.mark.parametrize("by", KERAS)


def ours(
    values: list[Float64s], by: By, threshold: float, *, xla: bool = False, dtype: str = "float64"
) -> list[Float64s]:
    spec = GradientClipping(by=by, threshold=threshold)

    def clip(flat: tf.Tensor, at: tf.Tensor) -> tf.Tensor:
        return clipped(flat, LAYOUT.norms(flat), LAYOUT, spec, at)

    flat = tf.constant(LAYOUT.flatten_values(values, dtype))
    made = (
        tf.function(clip, jit_compile=True)(flat, tf.constant(threshold, tf.float64)) if xla else clip(flat, threshold)
    )
    return [np.asarray(part, np.float64) for part in LAYOUT.split(made)]


def theirs(values: list[Float64s], by: By, threshold: float) -> list[Float64s]:
    """What plain descent at rate 1 takes off."""
    optimizer = keras.optimizers.SGD(1.0, **{KERAS[by]: threshold})
    variables = [keras.Variable(np.zeros(shape), dtype="float64") for shape in SHAPES]
    optimizer.build(variables)
    optimizer.apply([tf.constant(value) for value in values])
    return [-np.asarray(variable) for variable in variables]


def drawn(seed: int, scales: list[float]) -> list[Float64s]:
    random = np.random.default_rng(seed)
    return [random.standard_normal(shape) * scale for shape, scale in zip(SHAPES, scales, strict=True)]


magnitudes = st.lists(st.sampled_from([0.0, 1e-12, 1e-3, 1.0, 30.0, 1e6]), min_size=6, max_size=6)


@WAYS
@settings(deadline=None, max_examples=30)
@given(seed=st.integers(0, 99), scales=magnitudes, threshold=st.floats(1e-4, 1e3))
def test_a_clipped_gradient_is_that_of_keras(by: By, seed: int, scales: list[float], threshold: float) -> None:
    values = drawn(seed, scales)

    for mine, keras_own in zip(ours(values, by, threshold), theirs(values, by, threshold), strict=True):
        np.testing.assert_allclose(mine, keras_own, rtol=1e-6)  # Keras takes the threshold through float32


@WAYS
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_compiled_it_is_the_same(by: By, dtype: str) -> None:
    values = drawn(1, [1.0, 1e-3, 30.0, 0.0, 1.0, 5.0])

    for plain, compiled in zip(
        ours(values, by, 0.7, dtype=dtype), ours(values, by, 0.7, dtype=dtype, xla=True), strict=True
    ):
        np.testing.assert_allclose(compiled, plain, rtol=1e-6)


@pytest.mark.parametrize("scale", [1e-30, 1e30])
def test_norms_whose_squares_do_not_fit_are_clipped_all_the_same(scale: float) -> None:
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
