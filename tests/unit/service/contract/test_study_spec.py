"""A base and axes become the specs of experiments."""

import copy
import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from service.contract.errors import InvalidSpec
from service.contract.spec import ExperimentSpec
from service.contract.study_spec import StudySpec

Json = dict[str, Any]


def study(axes: Json, base: Json | None = None) -> StudySpec:
    return StudySpec.model_validate({"base": {"model": "baseline"} if base is None else base, "axes": axes})


def specs(axes: Json, base: Json | None = None) -> list[Json]:
    made = study(axes, base)
    return [made.spec_of(cell) for cell in made.cells()]


def test_the_last_axis_changes_fastest() -> None:
    made = study({"model.depth": [2, 5], "training.seed": [0, 1, 2]})

    assert made.experiments == 6
    assert [tuple(cell.values.values()) for cell in made.cells()] == [(2, 0), (2, 1), (2, 2), (5, 0), (5, 1), (5, 2)]
    assert str(next(iter(made.cells()))) == "model.depth=2, training.seed=0"


@pytest.mark.parametrize(
    ("base", "axes", "expected"),
    [
        ({"model": "improved"}, {"model.depth": [3]}, {"model": {"kind": "improved", "depth": 3}}),
        ({}, {"model.kind": ["baseline"], "model.depth": [3]}, {"model": {"kind": "baseline", "depth": 3}}),
        ({"model": "improved"}, {"model": ["baseline"]}, {"model": "baseline"}),
        (
            {"model": {"kind": "mlp", "kernel_initializer": "orthogonal"}},
            {"model.kernel_initializer.gain": [0.5]},
            {"model": {"kind": "mlp", "kernel_initializer": {"name": "orthogonal", "gain": 0.5}}},
        ),
        (
            {"model": "baseline", "data": {"source": "iris"}},
            {"data": [{"source": "wine"}], "training": [{"epochs": 2}]},
            {"model": "baseline", "data": {"source": "wine"}, "training": {"epochs": 2}},
        ),
        (
            {"model": "baseline"},
            {"training.optimizer.learning_rate": [0.1]},
            {"model": "baseline", "training": {"optimizer": {"name": "adam", "learning_rate": 0.1}}},
        ),
        (
            {"model": "baseline", "training": {"optimizer": "sgd"}},
            {"training.optimizer.momentum": [0.9]},
            {"model": "baseline", "training": {"optimizer": {"name": "sgd", "momentum": 0.9}}},
        ),
        (
            {"model": "baseline"},
            {"data.samples": [64]},
            {"model": "baseline", "data": {"source": "random", "samples": 64}},
        ),
        (
            {"model": "baseline"},
            {"training.gradient_clipping": [{"by": "norm", "threshold": 1.0}]},
            {"model": "baseline", "training": {"gradient_clipping": {"by": "norm", "threshold": 1.0}}},
        ),
    ],
)
def test_an_axis_sets_the_value_at_its_path_also_in_parts_given_by_name(base: Json, axes: Json, expected: Json) -> None:
    before = copy.deepcopy(base)

    (found,) = specs(axes, base)

    assert found == expected
    assert base == before
    ExperimentSpec.model_validate(found)


def test_seeds_are_replicates_and_other_axes_are_not() -> None:
    cell = next(iter(study({"model.depth": [2], "training.seed": [0], "data.seed": [1]}).cells()))

    assert cell.without_seeds == {"model.depth": 2}


@pytest.mark.parametrize(
    ("axes", "message"),
    [
        ({}, "at least 1"),
        ({"model.depth": []}, "at least one value"),
        ({"model.depth": [2, 2]}, "differ"),
        ({"training.optimizer.learning_rate": [1, 1.0]}, "differ"),
        ({"model.hidden_units": [[4, 4], [4.0, 4]]}, "differ"),
        ({"data": [{"source": "iris", "seed": 1}, {"seed": 1, "source": "iris"}]}, "differ"),
        ({"model" + ".x" * 100_000: [1]}, "a path must begin with model, data, training or recording"),
        ({"model." + "x" * 100_000: [1]}, "a path must begin with model, data, training or recording"),
        ({"model": ["baseline"], "model.depth": [2]}, "is an axis as well"),
        ({"depth": [2]}, "a path must begin with model, data, training or recording"),
        ({"name": ["a", "b"]}, "a path must begin with model, data, training or recording"),
        ({"model..depth": [2]}, "a path must begin with model, data, training or recording"),
        ({"model.__class__.x": [2]}, "a path must begin with model, data, training or recording"),
        ({"model.depth": 3}, "list"),
    ],
)
def test_invalid_axes_are_refused(axes: Json, message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        study(axes)


def nested(levels: int) -> Any:
    value: Any = 1
    for _ in range(levels):
        value = [value]
    return value


NOT_WRITABLE = [
    pytest.param(math.nan, "NaN", id="NaN"),
    pytest.param([-math.inf], "infinity", id="infinity"),
    pytest.param({"x": "\ud800"}, "surrogate", id="half a character"),
    pytest.param({"\udfff": 1}, "surrogate", id="half a character as a name"),
    pytest.param(nested(100), "levels", id="deep"),
    pytest.param(nested(20_000), "levels", id="deeper than Python goes"),
]


@pytest.mark.parametrize(("value", "message"), NOT_WRITABLE)
def test_values_that_are_not_json_are_refused_in_axes_and_base(value: Any, message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        study({"model": [value]})
    with pytest.raises(ValidationError, match=message):
        study({"model": ["baseline"]}, {"model": value})


def test_an_axis_through_a_number_is_refused() -> None:
    made = study({"training.epochs.most": [1]}, {"model": "baseline", "training": {"epochs": 5}})

    with pytest.raises(InvalidSpec) as refused:
        made.spec_of(next(iter(made.cells())))

    assert refused.value.location == ("base", "training", "epochs")


paths = st.sampled_from(["model.depth", "training.seed", "training.epochs", "recording.every", "data.samples"])


@given(st.dictionaries(paths, st.lists(st.integers(1, 50), min_size=1, max_size=4, unique=True), min_size=1))
def test_there_is_an_experiment_for_each_combination(axes: Json) -> None:
    made = study(axes)
    found = [made.spec_of(cell) for cell in made.cells()]

    assert len(found) == made.experiments == math.prod(len(values) for values in axes.values())
    seen = {tuple(spec[path.split(".")[0]][path.split(".")[1]] for path in axes) for spec in found}
    assert len(seen) == len(found)
    for cell, spec in zip(made.cells(), found, strict=True):
        for path, value in cell.values.items():
            part, field = path.split(".")
            assert spec[part][field] == value


@given(st.permutations(["model.depth", "training.seed", "training.optimizer.learning_rate", "training.optimizer.name"]))
def test_the_order_of_the_axes_changes_the_order_of_the_specs_only(order: list[str]) -> None:
    values: Json = {
        "model.depth": [2, 3],
        "training.seed": [0, 1],
        "training.optimizer.learning_rate": [0.1, 0.2],
        "training.optimizer.name": ["adam", "sgd"],
    }

    found = specs({path: values[path] for path in order}, {"model": "improved", "training": {"optimizer": "rmsprop"}})

    expected = specs(values, {"model": "improved"})
    assert sorted(found, key=lambda s: json.dumps(s, sort_keys=True)) == sorted(
        expected, key=lambda s: json.dumps(s, sort_keys=True)
    )


def test_parts_that_no_axis_changes_are_shared() -> None:
    made = study({"training.seed": [0, 1]}, {"model": {"kind": "mlp", "hidden_units": [3] * 1000}})

    assert all(made.spec_of(cell)["model"] is made.base["model"] for cell in made.cells())


@given(st.lists(st.integers(0, 10**9), min_size=1, max_size=5, unique=True), st.integers(1, 4), st.integers(0, 60))
def test_the_bytes_of_all_specs_are_computed_before_any_is_made(seeds: list[int], depths: int, width: int) -> None:
    made = study(
        {"training.seed": seeds, "model.depth": list(range(1, depths + 1))},
        {"model": {"kind": "mlp"}, "name": "x" * width},
    )

    written = sum(len(json.dumps(made.spec_of(cell), separators=(",", ":"))) for cell in made.cells())

    assert made.written_bytes <= written <= made.written_bytes + 40 * made.experiments  # the names of the fields


def test_the_tags_of_a_study_are_not_those_of_its_experiments() -> None:
    made = StudySpec.model_validate(
        {"tags": ["a", "a", "b"], "base": {"model": "baseline", "tags": ["c"]}, "axes": {"training.seed": [0]}}
    )

    assert made.tags == ("a", "b")
    assert made.spec_of(next(iter(made.cells())))["tags"] == ["c"]
