"""Sizes by arithmetic, and the limits on them."""

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.contract.errors import InvalidSpec, LimitExceeded
from service.contract.spec import Baseline, ExperimentSpec, Improved
from service.contract.workload import DataShape, Limits, check_limits, parameter_count, trainable_variables, workload


def _spec(**parts: Any) -> ExperimentSpec:
    return ExperimentSpec.model_validate({"model": "baseline", **parts}).resolved()


def test_the_preset_makes_125_steps_of_800_rows() -> None:
    work = workload(_spec())

    assert (work.train_rows, work.validation_rows, work.steps_per_epoch, work.total_steps) == (800, 200, 25, 125)


@pytest.mark.parametrize(
    ("samples", "split", "train_rows"),
    [
        (1000, 0.2, 800),
        (569, 0.2, 455),  # 455.2
        (150, 0.3, 105),
        (10, 0.9, 0),  # 1.0 - 0.9 is a little less than 0.1: Keras keeps no row either
        (10, 0.7, 3),
        (100, 0.29, 71),
        (100, 0.57, 43),
        (7, 0.0, 7),
    ],
)
def test_rows_are_split_as_keras_splits_them(samples: int, split: float, train_rows: int) -> None:
    # math.floor(rows * (1.0 - validation_split)): keras/src/trainers/data_adapters/data_adapter_utils.py
    work = workload(
        _spec(data={"source": "random", "samples": samples}, training={"validation_split": split, "batch_size": 32})
    )

    assert (work.train_rows, work.validation_rows) == (train_rows, samples - train_rows)


@given(samples=st.integers(2, 10**6), split=st.floats(0, 0.999), batch=st.integers(1, 10**4))
def test_batches_cover_every_training_row_and_none_twice(samples: int, split: float, batch: int) -> None:
    spec = _spec(
        data={"source": "random", "samples": samples}, training={"validation_split": split, "batch_size": batch}
    )
    work = workload(spec)

    assert work.train_rows + work.validation_rows == samples
    assert work.train_rows == math.floor(samples * (1.0 - split))  # data_adapter_utils.train_validation_split of Keras
    assert (work.steps_per_epoch - 1) * batch < work.train_rows <= work.steps_per_epoch * batch


@given(
    kind=st.sampled_from([Baseline, Improved]),
    depth=st.integers(1, 20),
    width=st.integers(1, 50),
    features=st.integers(1, 50),
    classes=st.integers(2, 12),
)
def test_parameters_are_counted_as_the_variables_hold_them(
    kind: type[Baseline | Improved], depth: int, width: int, features: int, classes: int
) -> None:
    model, shape = kind(depth=depth, width=width), DataShape(10, features, classes)
    variables = trainable_variables(model, shape)

    assert parameter_count(model, shape) == sum(math.prod(variable.shape) for variable in variables)
    assert [v.depth for v in variables if v.role == "kernel"] == list(range(depth + 1))
    assert len({v.name for v in variables}) == len(variables)


@pytest.mark.parametrize(
    ("parts", "limit", "value"),
    [
        ({"model": {"kind": "baseline", "depth": 10**9, "width": 1}}, "layers", 10**9),
        ({"model": {"kind": "baseline", "depth": 1, "width": 10**9}}, "parameters", 20 * 10**9 + 2 * 10**9 + 1),
        ({"training": {"epochs": 10**6}}, "steps", 25 * 10**6),
        (
            {"model": {"kind": "improved", "depth": 400, "width": 1}, "training": {"epochs": 4000}},
            "recorded_values",
            (4 * 400 + 2) * 100_000,
        ),
        ({"data": {"source": "random", "samples": 10**6, "features": 100}}, "data_bytes", 404 * 10**6),
    ],
)
def test_each_limit_names_itself_and_the_value(parts: dict[str, Any], limit: str, value: int) -> None:
    with pytest.raises(LimitExceeded) as refused:
        check_limits(_spec(**parts), Limits())

    assert (refused.value.limit, refused.value.value) == (limit, value)
    assert refused.value.maximum == getattr(Limits(), limit)
    assert f"{value:,}" in refused.value.message


@pytest.mark.parametrize("kind", ["baseline", "improved"])
def test_a_depth_that_could_never_be_listed_is_refused_at_once(kind: str) -> None:
    # A variable for each of 10**15 layers would not end within this test, nor fit into memory.
    spec = _spec(model={"kind": kind, "depth": 10**15, "width": 10**15}, training={"epochs": 10**15})

    with pytest.raises(LimitExceeded) as refused:
        check_limits(spec, Limits())

    assert (refused.value.location, refused.value.limit) == (("model", "depth"), "layers")
    assert parameter_count(spec.model, DataShape(1000, 20, 2)) > 10**45  # closed form: as fast for any depth


@pytest.mark.parametrize(
    ("limit", "reached"),
    [("layers", 2), ("parameters", 20 * 3 + 3 + 3 * 3 + 3 + 3 + 1), ("steps", 125), ("recorded_values", 6 * 125)],
)
def test_a_limit_may_be_reached_but_not_passed(limit: str, reached: int) -> None:
    spec = _spec(model={"kind": "baseline", "depth": 2, "width": 3})

    check_limits(spec, Limits.model_validate({limit: reached}))
    with pytest.raises(LimitExceeded, match=f"^{limit}: {reached} asked for, at most {reached - 1} allowed$"):
        check_limits(spec, Limits.model_validate({limit: reached - 1}))


def test_limits_are_read_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GRADFLOW_LIMIT_LAYERS", "3")

    assert Limits().layers == 3
    with pytest.raises(LimitExceeded):
        check_limits(_spec(), Limits())


def test_the_limits_let_through_what_they_promise() -> None:
    check_limits(_spec(model={"kind": "baseline", "depth": 1000, "width": 8}), Limits())
    check_limits(_spec(model={"kind": "baseline", "depth": 12, "width": 2000}), Limits())


@pytest.mark.parametrize(
    ("samples", "split", "why"),
    [(2, 0.99, "0 to train on and 2 to validate"), (10, 1e-17, "10 to train on and 0 to validate")],
)
def test_a_split_that_leaves_one_side_empty_is_refused(samples: int, split: float, why: str) -> None:
    spec = _spec(data={"source": "random", "samples": samples}, training={"validation_split": split})

    with pytest.raises(InvalidSpec, match=why) as refused:
        check_limits(spec, Limits())

    assert refused.value.location == ("training", "validation_split")


def test_a_split_of_nothing_validates_with_nothing_and_a_tiny_one_with_one_row() -> None:
    def validation_rows(split: float) -> int:
        return check_limits(_spec(training={"validation_split": split}), Limits()).validation_rows

    assert validation_rows(0.0) == 0
    assert validation_rows(1e-9) == 1  # floor of the training rows keeps one row for validation, as Keras does
