"""Stored histories as arrays."""

import math

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from service.analysis.history import Gradients, epoch_metrics, gradients
from service.contract.spec import Improved
from service.contract.workload import DataShape, trainable_variables

VARIABLES = trainable_variables(Improved(depth=2, width=3), DataShape(10, 4, 2))


def _gradients(values: "np.ndarray[tuple[int, int], np.dtype[np.float64]]", start: int = 0) -> Gradients:
    return Gradients(VARIABLES[: len(values)], np.arange(start, start + values.shape[1]), values)


def test_rows_are_steps_in_the_store_and_variables_in_the_answer() -> None:
    packed = np.arange(3 * len(VARIABLES), dtype="<f4").tobytes()

    unpacked = gradients(packed, VARIABLES, start=5)

    assert unpacked.steps.tolist() == [5, 6, 7]
    assert unpacked.values.shape == (len(VARIABLES), 3)
    assert unpacked.values[1].tolist() == [1, 1 + len(VARIABLES), 1 + 2 * len(VARIABLES)]


def test_a_role_and_a_glob_choose_variables() -> None:
    everything = _gradients(np.zeros((len(VARIABLES), 2)))

    assert [v.name for v in everything.select("kernel", "*").variables] == [
        "dense_0/kernel",
        "dense_1/kernel",
        "output/kernel",
    ]
    assert [v.name for v in everything.select("all", "*_1").variables] == [
        "dense_1/kernel",
        "dense_1/bias",
        "batch_normalization_1/gamma",
        "batch_normalization_1/beta",
    ]
    assert everything.select("kernel", "conv*").values.shape == (0, 2)


@given(
    values=arrays(np.float64, st.tuples(st.integers(1, 4), st.integers(1, 200)), elements=st.floats(-1e9, 1e9)),
    max_points=st.integers(2, 60),
)
def test_downsampling_keeps_every_peak_and_the_order_of_steps(
    values: "np.ndarray[tuple[int, int], np.dtype[np.float64]]", max_points: int
) -> None:
    fewer = _gradients(values).downsampled(max_points)

    assert fewer.values.shape[1] == len(fewer.steps) <= max(max_points, 2)
    assert (np.diff(fewer.steps) > 0).all()
    np.testing.assert_array_equal(fewer.values.max(axis=1), values.max(axis=1))
    np.testing.assert_array_equal(fewer.values.min(axis=1), values.min(axis=1))


@given(
    values=arrays(np.float32, st.tuples(st.integers(1, 4), st.integers(1, 120)), elements=st.floats(width=32)),
    max_points=st.integers(2, 60),
)
def test_what_is_not_finite_hides_no_peak_when_downsampling(
    values: "np.ndarray[tuple[int, int], np.dtype[np.float64]]", max_points: int
) -> None:
    fewer = _gradients(values).downsampled(max_points)

    for kept, row in zip(fewer.values, values, strict=True):
        kept, row = kept[np.isfinite(kept)], row[np.isfinite(row)]
        assert len(kept) > 0 or len(row) == 0
        if len(row):
            assert (kept.min(), kept.max()) == (row.min(), row.max())


def test_a_bucket_without_any_finite_value_shows_that() -> None:
    values = np.array([[1.0, 2.0, 3.0, 4.0, math.nan, math.nan, math.nan, math.nan]])

    fewer = _gradients(values).downsampled(4)

    assert fewer.steps.tolist() == [0, 3, 4, 7]
    assert fewer.values[0, :2].tolist() == [1.0, 4.0]
    assert np.isnan(fewer.values[0, 2:]).all()


def test_the_two_values_of_a_bucket_keep_the_order_in_which_they_occurred() -> None:
    values = np.array([[5.0, 1.0, 1.0, 9.0], [9.0, 1.0, 1.0, 5.0]])

    fewer = _gradients(np.hstack([values, values])).downsampled(4)

    assert fewer.values.tolist() == [[1.0, 9.0, 1.0, 9.0], [9.0, 1.0, 9.0, 1.0]]


@given(st.text(max_size=30))
def test_any_text_is_a_glob(layer: str) -> None:
    chosen = _gradients(np.zeros((len(VARIABLES), 2))).select("all", layer)

    assert len(chosen.variables) == len(chosen.values) <= len(VARIABLES)


def test_a_row_that_is_not_complete_is_left_out_and_nothing_is_no_steps() -> None:
    whole = np.arange(2 * len(VARIABLES), dtype="<f4").tobytes()

    assert gradients(whole[:-4], VARIABLES, start=0).steps.tolist() == [0]
    assert gradients(b"", VARIABLES, start=3).values.shape == (len(VARIABLES), 0)
    assert gradients(b"", VARIABLES, start=3).downsampled(2).first_nonfinite_step is None


def test_the_first_step_that_is_not_finite_is_found_in_any_variable() -> None:
    values = np.ones((2, 6))
    values[1, 4] = math.inf
    values[0, 5] = math.nan

    assert _gradients(values, start=10).first_nonfinite_step == 14
    assert _gradients(values[:, :4]).first_nonfinite_step is None


def test_epoch_rows_become_a_series_a_metric() -> None:
    packed = np.array([[1, 2, 3, 4], [5, 6, 7, 8]], "<f4").tobytes()

    assert {name: values.tolist() for name, values in epoch_metrics(packed).items()} == {
        "loss": [1, 5],
        "accuracy": [2, 6],
        "val_loss": [3, 7],
        "val_accuracy": [4, 8],
    }
