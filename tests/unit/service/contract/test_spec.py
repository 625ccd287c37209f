"""What a user may ask for."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from service.contract.spec import MAX_SEED, ExperimentSpec

seeds = st.integers(0, MAX_SEED)
positive = st.floats(1e-12, 1e12)
sizes = st.integers(1, 10**6)
scales = st.sampled_from(["none", "standard", "minmax"])
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
            st.fixed_dictionaries({"source": st.just("random")}, optional={"samples": st.integers(2, 10**6)}),
            st.fixed_dictionaries(
                {"source": st.sampled_from(["iris", "digits"])},
                optional={"scale": scales, "seed": st.one_of(st.none(), seeds)},
            ),
        ),
        "training": st.fixed_dictionaries(
            {},
            optional={
                "epochs": sizes,
                "batch_size": sizes,
                "validation_split": st.floats(0, 0.99),
                "shuffle": st.booleans(),
                "seed": seeds,
                "optimizer": st.one_of(
                    st.fixed_dictionaries({"name": st.just("adam")}, optional={"learning_rate": positive}),
                    st.fixed_dictionaries({"name": st.just("sgd")}, optional={"momentum": st.floats(0, 0.99)}),
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
    assert seed(seed=3) == 3


@pytest.mark.parametrize(
    ("body", "location"),
    [
        ({}, ("model",)),
        ({"model": "huge"}, ("model",)),
        ({"model": 3}, ("model",)),
        ({"model": {"kind": "mlp"}}, ("model",)),
        ({"model": "baseline", "extra": 1}, ("extra",)),
        ({"model": {"kind": "baseline", "depth": 0}}, ("model", "baseline", "depth")),
        ({"model": {"kind": "baseline", "depth": True}}, ("model", "baseline", "depth")),
        ({"model": {"kind": "baseline", "depth": "11"}}, ("model", "baseline", "depth")),
        ({"model": {"kind": "baseline", "depth": 2.0}}, ("model", "baseline", "depth")),
        ({"model": {"kind": "improved", "width": float("nan")}}, ("model", "improved", "width")),
        ({"model": "baseline", "name": "x" * 121}, ("name",)),
        ({"model": "baseline", "tags": ["a"] * 17}, ("tags",)),
        ({"model": "baseline", "tags": [""]}, ("tags", 0)),
        ({"model": "baseline", "data": {"source": "iris", "samples": 9}}, ("data", "iris", "samples")),
        ({"model": "baseline", "training": {"seed": MAX_SEED + 1}}, ("training", "seed")),
        ({"model": "baseline", "training": {"validation_split": 1.0}}, ("training", "validation_split")),
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


def test_a_tag_given_twice_is_kept_once() -> None:
    assert ExperimentSpec.model_validate({"model": "baseline", "tags": ["b", "a", "b"]}).tags == ("b", "a")
