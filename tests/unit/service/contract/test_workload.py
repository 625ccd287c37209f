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


def test_the_limits_let_through_what_they_promise() -> None:
    check_limits(_spec(model={"kind": "baseline", "depth": 1000, "width": 8}), Limits())
    check_limits(_spec(model={"kind": "baseline", "depth": 12, "width": 2000}), Limits())


@pytest.mark.parametrize("split", [0.99, 1e-9])
def test_a_split_that_leaves_one_side_empty_is_refused(split: float) -> None:
    spec = _spec(data={"source": "random", "samples": 2 if split > 0.5 else 10}, training={"validation_split": split})
    if split > 0.5:
        with pytest.raises(InvalidSpec, match="0 to train on"):
            check_limits(spec, Limits())
    else:
        assert check_limits(spec, Limits()).validation_rows == 1  # floor keeps one row for validation, as Keras does
