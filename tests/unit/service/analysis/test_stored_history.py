"""Stored histories as arrays: unpacking, selection and thinning."""

import math
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from service.analysis.stored_history import Gradients, first_batch, joined, points, series, table, thinned, unpacked
from service.contract.plan import Plan
from service.contract.recording_spec import Statistic
from tests.support.plans import plan_of

NORM = Statistic.GRADIENT_NORM
IMPROVED = {"kind": "improved", "depth": 2, "width": 3}
DATA = {"source": "random", "features": 4}
PLANNED = plan_of(model=IMPROVED, data=DATA)
VARIABLES = PLANNED.variables


def _gradients(values: "np.ndarray[tuple[int, int], np.dtype[np.float64]]", start: int = 0) -> Gradients:
    return Gradients(VARIABLES[: len(values)], np.arange(start, start + values.shape[1]), values)


def _downsampled(whole: Gradients, max_points: int) -> Gradients:
    count = len(whole.steps)
    return joined(thinned([whole], count, max_points), points(count, max_points))


def test_stored_rows_are_steps_and_unpacked_rows_are_variables() -> None:
    packed = np.arange(3 * len(VARIABLES), dtype="<f4").tobytes()

    found = unpacked(packed, PLANNED, NORM, 5)

    assert found.steps.tolist() == [5, 6, 7]
    assert found.values.shape == (len(VARIABLES), 3)
    assert found.values[1].tolist() == [1, 1 + len(VARIABLES), 1 + 2 * len(VARIABLES)]


def test_variables_are_selected_by_role_and_glob() -> None:
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
    fewer = _downsampled(_gradients(values), max_points)

    assert fewer.values.shape[1] == len(fewer.steps) <= max(max_points, 2)
    assert (np.diff(fewer.steps) > 0).all()
    np.testing.assert_array_equal(fewer.values.max(axis=1), values.max(axis=1))
    np.testing.assert_array_equal(fewer.values.min(axis=1), values.min(axis=1))


@given(
    values=arrays(np.float32, st.tuples(st.integers(1, 4), st.integers(1, 120)), elements=st.floats(width=32)),
    max_points=st.integers(2, 60),
)
def test_nonfinite_values_hide_no_peak_when_downsampling(
    values: "np.ndarray[tuple[int, int], np.dtype[np.float64]]", max_points: int
) -> None:
    fewer = _downsampled(_gradients(values), max_points)

    for kept, row in zip(fewer.values, values, strict=True):
        kept, row = kept[np.isfinite(kept)], row[np.isfinite(row)]
        assert len(kept) > 0 or len(row) == 0
        if len(row):
            assert (kept.min(), kept.max()) == (row.min(), row.max())


def test_a_bucket_without_a_finite_value_stays_nonfinite() -> None:
    values = np.array([[1.0, 2.0, 3.0, 4.0, math.nan, math.nan, math.nan, math.nan]])

    fewer = _downsampled(_gradients(values), 4)

    assert fewer.steps.tolist() == [0, 3, 4, 7]
    assert fewer.values[0, :2].tolist() == [1.0, 4.0]
    assert np.isnan(fewer.values[0, 2:]).all()


def test_the_extremes_of_a_bucket_keep_the_order_in_which_they_occurred() -> None:
    values = np.array([[5.0, 1.0, 1.0, 9.0], [9.0, 1.0, 1.0, 5.0]])

    fewer = _downsampled(_gradients(np.hstack([values, values])), 4)

    assert fewer.values.tolist() == [[1.0, 9.0, 1.0, 9.0], [9.0, 1.0, 9.0, 1.0]]


def _blocks(whole: Gradients, edges: list[int]) -> list[Gradients]:
    bounds = [0, *edges, len(whole.steps)]
    return [
        replace(whole, steps=whole.steps[first:stop], values=whole.values[:, first:stop])
        for first, stop in pairwise(bounds)
    ]


@given(
    values=arrays(np.float32, st.tuples(st.integers(1, 3), st.integers(0, 60)), elements=st.floats(width=32)),
    max_points=st.none() | st.integers(2, 70),
    data=st.data(),
)
def test_thinning_blocks_gives_the_same_points_as_thinning_the_whole_wherever_it_is_cut(
    values: "np.ndarray[tuple[int, int], np.dtype[np.float64]]", max_points: int | None, data: st.DataObject
) -> None:
    whole = _gradients(values, start=100)
    count = len(whole.steps)
    edges = sorted(data.draw(st.lists(st.integers(0, count), max_size=5)))
    remaining = points(count, max_points)

    found = joined(thinned(_blocks(whole, edges), count, max_points), remaining)

    expected = whole if max_points is None else _downsampled(whole, max_points)
    np.testing.assert_array_equal(found.steps, expected.steps)
    np.testing.assert_array_equal(found.values, expected.values)
    assert len(expected.steps) == remaining
    assert found.first_nonfinite_step == whole.first_nonfinite_step
    assert (found.variables, found.values.dtype) == (whole.variables, whole.values.dtype)


def test_each_variable_of_joined_blocks_is_contiguous_in_memory() -> None:
    whole = unpacked(np.zeros((5, len(VARIABLES)), "<f4").tobytes(), PLANNED, NORM, 0)

    assert joined(_blocks(whole, [2]), 5).values.flags.c_contiguous
    with pytest.raises(ValueError, match="no block"):
        joined([], 0)


@given(st.text(max_size=30))
def test_any_text_is_a_valid_glob(layer: str) -> None:
    chosen = _gradients(np.zeros((len(VARIABLES), 2))).select("all", layer)

    assert len(chosen.variables) == len(chosen.values) <= len(VARIABLES)


def test_an_incomplete_step_is_ignored_and_an_empty_history_has_no_steps() -> None:
    whole = np.arange(2 * len(VARIABLES), dtype="<f4").tobytes()

    assert unpacked(whole[:-4], PLANNED, NORM, 0).steps.tolist() == [0]
    assert unpacked(b"", PLANNED, NORM, 3).values.shape == (len(VARIABLES), 0)
    assert _downsampled(unpacked(b"", PLANNED, NORM, 3), 2).first_nonfinite_step is None


def test_the_first_nonfinite_step_is_found_in_any_variable() -> None:
    values = np.ones((2, 6))
    values[1, 4] = math.inf
    values[0, 5] = math.nan

    assert _gradients(values, start=10).first_nonfinite_step == 14
    assert _gradients(values[:, :4]).first_nonfinite_step is None


def test_a_table_of_epochs_becomes_one_series_per_metric() -> None:
    packed = np.array([[1, 2, 3, 4], [5, 6, 7, 8]], "<f4").tobytes()

    by_epoch = table(packed, PLANNED.objective.epoch_metrics, "<f4")

    assert {name: values.tolist() for name, values in by_epoch.items()} == {
        "loss": [1, 5],
        "accuracy": [2, 6],
        "val_loss": [3, 7],
        "val_accuracy": [4, 8],
    }


def test_losses_are_unpacked_in_the_precision_of_the_run() -> None:
    losses = [1 / 3, 1e-300]

    assert series(np.array(losses, "<f8").tobytes(), "<f8").tolist() == losses
    assert series(np.array(losses, "<f4").tobytes(), "<f4").tolist() == [np.float32(1 / 3), 0]


def test_a_regression_has_errors_instead_of_accuracy() -> None:
    names = plan_of(model="baseline", data={"source": "diabetes"}).objective.epoch_metrics

    by_epoch = table(np.arange(12, dtype="<f4").tobytes(), names, "<f4")

    assert list(by_epoch) == ["loss", "mse", "mae", "val_loss", "val_mse", "val_mae"]
    assert by_epoch["val_loss"].tolist() == [3, 9]


def test_recorded_steps_are_as_far_apart_as_the_spec_says() -> None:
    planned = plan_of(model=IMPROVED, data=DATA, recording={"every": 10})
    packed = np.zeros(3 * len(VARIABLES), "<f4").tobytes()

    assert unpacked(packed, planned, NORM, 0).steps.tolist() == [0, 10, 20]
    assert unpacked(packed, planned, NORM, 4).steps.tolist() == [40, 50, 60]


def test_norms_of_a_float64_run_keep_all_their_digits() -> None:
    planned = plan_of(model=IMPROVED, data=DATA, training={"precision": "float64"})
    norms = np.full((2, len(VARIABLES)), 1e-300)

    assert unpacked(norms.tobytes(), planned, NORM, 0).values.tolist() == norms.T.tolist()


def test_a_root_mean_square_is_the_norm_divided_by_the_root_of_the_number_of_entries() -> None:
    norms = np.array([[math.sqrt(math.prod(v.shape)) * (i + 1) for i, v in enumerate(VARIABLES)]] * 2)
    packed = norms.astype("<f4").tobytes()

    found = unpacked(packed, PLANNED, NORM, 0).root_mean_squares()

    assert found.variables == VARIABLES
    np.testing.assert_allclose(found.values[:, 1], np.arange(1, len(VARIABLES) + 1), rtol=1e-6)


def _with_a_layer_next_to_the_output() -> Plan:
    """A plan with a layer `unused` that reads the data, as `output` does, and that no layer reads."""
    dense = {"module": "keras.layers", "class_name": "Dense"}
    tensor = {"class_name": "__keras_tensor__", "config": {"shape": [None, 4], "keras_history": ["data", 0, 0]}}
    reads_the_data = {"inbound_nodes": [{"args": [tensor], "kwargs": {}}]}
    layers = [
        {
            "module": "keras.layers",
            "class_name": "InputLayer",
            "name": "data",
            "config": {"name": "data", "batch_shape": [None, 4]},
            "inbound_nodes": [],
        },
        {**dense, "name": "unused", "config": {"name": "unused", "units": 3}, **reads_the_data},
        {**dense, "name": "output", "config": {"name": "output", "units": 1}, **reads_the_data},
    ]
    inner = {"layers": layers, "input_layers": [["data", 0, 0]], "output_layers": [["output", 0, 0]]}
    config = {"module": "keras", "class_name": "Functional", "config": inner}
    return plan_of(model={"kind": "keras", "config": config}, data=DATA)


def test_variables_without_a_gradient_are_nan_when_added_and_do_not_count_as_nonfinite() -> None:
    planned = _with_a_layer_next_to_the_output()
    packed = np.array([[1, 2], [3, 4], [math.inf, 6]], "<f4").tobytes()

    stored = unpacked(packed, planned, NORM, 0)
    found = stored.expanded(planned.variables)

    assert [v.name for v in stored.variables] == ["output/kernel", "output/bias"]
    assert stored.values.tolist() == [[1, 3, math.inf], [2, 4, 6]]
    assert stored.expanded(stored.variables) is stored
    assert [(v.name, v.has_gradient) for v in found.variables] == [
        *(("unused/kernel", False), ("unused/bias", False), ("output/kernel", True), ("output/bias", True)),
    ]
    assert np.isnan(found.values[:2]).all()
    assert found.values[2:].tolist() == [[1, 3, math.inf], [2, 4, 6]]
    assert found.first_nonfinite_step == 2
    assert _downsampled(found, 2).first_nonfinite_step == 2
    assert found.select("all", "unused").first_nonfinite_step is None


def test_a_statistic_with_gaps_has_no_nonfinite_step() -> None:
    fractions = np.array([[math.nan, 0.5], [math.nan, 0.25]], "<f4")

    def found(statistic: Statistic) -> Gradients:
        planned = plan_of(model={"kind": "mlp", "depth": 2}, recording={"statistics": [statistic]})
        return unpacked(fractions.tobytes(), planned, statistic, 0)

    saturated, mean = found(Statistic.SATURATED_FRACTION), found(Statistic.ACTIVATION_MEAN)
    assert [(v.layer, v.role) for v in saturated.variables] == [("dense_0", "activation"), ("dense_1", "activation")]
    assert saturated.first_nonfinite_step is None
    assert _downsampled(saturated.select("all", "*"), 2).first_nonfinite_step is None
    assert mean.first_nonfinite_step == 0


def test_a_first_batch_is_its_inputs_followed_by_its_errors() -> None:
    planned = plan_of(model="baseline", data={"source": "digits", "shape": [8, 8]}, training={"batch_size": 3})
    numbers = np.arange(3 * 74, dtype="<f4")

    found = first_batch(numbers.tobytes(), planned)

    assert found is not None
    assert found.inputs.shape == (3, 8, 8)
    assert found.inputs.ravel().tolist() == list(range(3 * 64))
    assert found.errors.shape == (3, 10)
    assert found.errors[0].tolist() == list(range(192, 202))


@pytest.mark.parametrize("numbers", [np.zeros(0), np.zeros(32 * 5 - 1), np.full(32 * 5, np.nan)])
def test_a_first_batch_that_is_missing_or_not_finite_is_none(
    numbers: "np.ndarray[tuple[int], np.dtype[np.float64]]",
) -> None:
    assert first_batch(numbers.astype("<f4").tobytes(), PLANNED) is None


def test_the_first_batch_of_a_plan_that_keeps_none_is_none() -> None:
    planned = plan_of(model="baseline", data={"source": "random", "features": 9000})

    assert first_batch(b"", planned) is None
