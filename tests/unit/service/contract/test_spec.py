"""What a user may ask for."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from service.contract.spec import MAX_INTEGER, ExperimentSpec

seeds = st.integers(0, MAX_INTEGER)
positive = st.floats(1e-12, 1e12)
sizes = st.integers(1, 10**6)
scales = st.sampled_from(["none", "standard", "minmax"])
decays = st.floats(0, 1, exclude_max=True)
specs = st.fixed_dictionaries(
    {
        "model": st.one_of(
            st.sampled_from(["baseline", "improved"]),
            st.fixed_dictionaries(
                {"kind": st.sampled_from(["baseline", "improved"])}, optional={"depth": sizes, "width": sizes}
            ),
        )
    },
    optional={
        "name": st.one_of(st.none(), st.text(max_size=120)),
        "tags": st.lists(st.text(min_size=1, max_size=60), max_size=16),
        "data": st.one_of(
            st.fixed_dictionaries(
                {"source": st.just("random")},
                optional={
                    "samples": st.integers(2, 10**6),
                    "features": sizes,
                    "scale": scales,
                    "seed": st.one_of(st.none(), seeds),
                },
            ),
            st.fixed_dictionaries(
                {"source": st.sampled_from(["breast_cancer", "digits", "wine", "iris"])},
                optional={"scale": scales, "seed": st.one_of(st.none(), seeds)},
            ),
        ),
        "training": st.fixed_dictionaries(
            {},
            optional={
                "epochs": sizes,
                "batch_size": sizes,
                "validation_split": decays,
                "shuffle": st.booleans(),
                "seed": seeds,
                "optimizer": st.one_of(
                    st.fixed_dictionaries(
                        {"name": st.just("adam")},
                        optional={"learning_rate": positive, "beta_1": decays, "beta_2": decays, "epsilon": positive},
                    ),
                    st.fixed_dictionaries(
                        {"name": st.just("sgd")}, optional={"learning_rate": positive, "momentum": decays}
                    ),
                ),
            },
        ),
    },
)


@given(specs)
def test_a_resolved_spec_has_no_open_default_and_survives_json(body: dict[str, Any]) -> None:
    spec = ExperimentSpec.model_validate(body).resolved()

    assert spec.data.seed is not None
    posted_again = json.loads(spec.model_dump_json())
    assert ExperimentSpec.model_validate(posted_again).resolved() == spec
    assert ExperimentSpec.model_validate_json(spec.model_dump_json()) == spec


def test_the_data_take_the_seed_of_the_training_unless_they_have_their_own() -> None:
    def seed(**data: Any) -> int | None:
        body = {"model": "baseline", "data": {"source": "random", **data}, "training": {"seed": 7}}
        return ExperimentSpec.model_validate(body).resolved().data.seed

    assert seed() == 7
    assert seed(seed=None) == 7
    assert seed(seed=3) == 3
    assert seed(seed=0) == 0
    assert seed(source="iris") == 7


def test_every_default_is_the_one_that_the_contract_names() -> None:
    spec = ExperimentSpec.model_validate({"model": "baseline"}).resolved()

    assert spec.model_dump(mode="json") == {  # design/api.md, "Submit"
        "name": None,
        "tags": [],
        "model": {"kind": "baseline", "depth": 11, "width": 64},
        "data": {"source": "random", "samples": 1000, "features": 20, "scale": "none", "seed": 0},
        "training": {
            "epochs": 5,
            "batch_size": 32,
            "validation_split": 0.2,
            "shuffle": True,
            "seed": 0,
            "optimizer": {"name": "adam", "learning_rate": 0.001, "beta_1": 0.9, "beta_2": 0.999, "epsilon": 1e-07},
        },
    }


@pytest.mark.parametrize("preset", ["baseline", "improved"])
def test_a_preset_is_short_for_an_object_of_that_kind(preset: str) -> None:
    assert ExperimentSpec.model_validate({"model": preset}) == ExperimentSpec.model_validate(
        {"model": {"kind": preset}}
    )


@pytest.mark.parametrize(
    ("body", "location"),
    [
        ({}, ("model",)),
        ({"model": "huge"}, ("model",)),
        ({"model": 3}, ("model",)),
        ({"model": {"kind": "mlp"}}, ("model",)),
        ({"model": "baseline", "extra": 1}, ("extra",)),
        ({"model": ["baseline"]}, ("model",)),
        ({"model": {"depth": 3}}, ("model",)),
        ({"model": {"kind": "baseline", "depth": 0}}, ("model", "baseline", "depth")),
        ({"model": {"kind": "baseline", "depth": -3}}, ("model", "baseline", "depth")),
        ({"model": {"kind": "baseline", "depth": None}}, ("model", "baseline", "depth")),
        ({"model": {"kind": "baseline", "units": 3}}, ("model", "baseline", "units")),
        ({"model": {"kind": "baseline", "depth": True}}, ("model", "baseline", "depth")),
        ({"model": {"kind": "baseline", "depth": "11"}}, ("model", "baseline", "depth")),
        ({"model": {"kind": "baseline", "depth": 2.0}}, ("model", "baseline", "depth")),
        ({"model": {"kind": "improved", "width": float("nan")}}, ("model", "improved", "width")),
        ({"model": "baseline", "name": "x" * 121}, ("name",)),
        ({"model": "baseline", "tags": ["a"] * 17}, ("tags",)),
        ({"model": "baseline", "name": 3}, ("name",)),
        ({"model": "baseline", "name": "\ud800"}, ("name",)),  # half a surrogate pair: no UTF-8 can store it
        ({"model": "baseline", "tags": "one"}, ("tags",)),
        ({"model": "baseline", "tags": ["a", 3]}, ("tags", 1)),
        ({"model": "baseline", "tags": ["x" * 61]}, ("tags", 0)),
        ({"model": "baseline", "tags": [""]}, ("tags", 0)),
        ({"model": "baseline", "data": {"samples": 9}}, ("data",)),
        ({"model": "baseline", "data": {"source": "mnist"}}, ("data",)),
        ({"model": "baseline", "data": {"source": "random", "samples": 1}}, ("data", "random", "samples")),
        ({"model": "baseline", "data": {"source": "iris", "scale": "log"}}, ("data", "iris", "scale")),
        ({"model": "baseline", "data": {"source": "iris", "samples": 9}}, ("data", "iris", "samples")),
        ({"model": "baseline", "training": {"seed": MAX_INTEGER + 1}}, ("training", "seed")),
        ({"model": "baseline", "training": {"seed": -1}}, ("training", "seed")),
        ({"model": "baseline", "training": {"seed": True}}, ("training", "seed")),
        ({"model": "baseline", "training": {"shuffle": 1}}, ("training", "shuffle")),
        ({"model": "baseline", "training": {"validation_split": 1.0}}, ("training", "validation_split")),
        ({"model": "baseline", "training": {"validation_split": "0.2"}}, ("training", "validation_split")),
        ({"model": "baseline", "training": {"validation_split": float("nan")}}, ("training", "validation_split")),
        (
            {"model": "baseline", "training": {"optimizer": {"name": "adam", "learning_rate": float("inf")}}},
            ("training", "optimizer", "adam", "learning_rate"),
        ),
    ],
)
def test_what_is_wrong_is_refused_at_its_place(body: Any, location: tuple[str | int, ...]) -> None:
    with pytest.raises(ValidationError) as refused:
        ExperimentSpec.model_validate(body)

    assert [error["loc"] for error in refused.value.errors()] == [location]


HOSTILE = [
    pytest.param(-(10**400), id="huge integer"),
    pytest.param("x" * 10**6, id="long text"),
    pytest.param([[[[[[]]]]]], id="nested lists"),
    pytest.param({"a": {"a": {"a": None}}}, id="nested objects"),
    pytest.param(1e308, id="huge float"),
]


@pytest.mark.parametrize("value", HOSTILE)
@pytest.mark.parametrize("place", [("model", "depth"), ("data", "seed"), ("training", "seed"), ("name",), ("tags",)])
def test_a_hostile_value_is_refused_at_its_place_and_nowhere_else(place: tuple[str, ...], value: Any) -> None:
    body: dict[str, Any] = {"model": {"kind": "baseline"}, "data": {"source": "iris"}, "training": {}}
    part = body
    for name in place[:-1]:
        part = part[name]
    part[place[-1]] = value

    with pytest.raises(ValidationError) as refused:
        ExperimentSpec.model_validate(body)

    assert {error["loc"][0] for error in refused.value.errors()} == {place[0]}


def test_a_size_that_json_readers_do_not_keep_exactly_is_refused() -> None:
    parts: list[tuple[str, dict[str, Any], str]] = [
        ("model", {"kind": "baseline"}, "depth"),
        ("model", {"kind": "baseline"}, "width"),
        ("model", {"kind": "improved"}, "depth"),
        ("model", {"kind": "improved"}, "width"),
        ("data", {"source": "random"}, "samples"),
        ("data", {"source": "random"}, "features"),
        ("training", {}, "epochs"),
        ("training", {}, "batch_size"),
    ]
    for part, fields, size in parts:
        with pytest.raises(ValidationError) as refused:
            ExperimentSpec.model_validate({"model": "baseline", part: {**fields, size: MAX_INTEGER + 1}})

        assert [error["loc"][-1] for error in refused.value.errors()] == [size]


def test_a_tag_given_twice_is_kept_once() -> None:
    assert ExperimentSpec.model_validate({"model": "baseline", "tags": ["b", "a", "b"]}).tags == ("b", "a")
