"""Resolved specs: one text per experiment, one template per plan."""

import json
from typing import Any

from hypothesis import given

from service.contract.resolved_spec import ResolvedSpec
from service.contract.spec import ExperimentSpec
from tests.support.hostile_configs import dense, sequential
from tests.support.specs import mlps, specs


def resolved(**body: Any) -> ResolvedSpec:
    return ResolvedSpec.of(ExperimentSpec.model_validate_json(json.dumps({"model": "baseline", **body})))


def test_resolving_twice_changes_nothing() -> None:
    once = resolved(model={"kind": "mlp"}, training={"seed": 4})

    assert once.spec.data.seed == 4
    assert ResolvedSpec.of(once.spec) == once
    assert ResolvedSpec.of(once.spec).text == once.text


@given(specs(mlps))
def test_the_parsed_text_equals_the_spec(body: dict[str, Any]) -> None:
    try:
        spec = ExperimentSpec.model_validate_json(json.dumps(body))
    except ValueError:
        return

    found = ResolvedSpec.of(spec)

    read = ExperimentSpec.model_validate_json(found.text)
    assert read == found.spec
    assert hash(read) == hash(found.spec)


def test_names_tags_and_seeds_do_not_belong_to_the_template() -> None:
    first = resolved(name="a", tags=["x"], training={"seed": 1})
    second = resolved(data={"source": "random", "seed": 8})

    assert first.text != second.text
    assert first.template == second.template
    assert first.template != resolved(training={"epochs": 9}).template


def test_specs_with_keras_networks_are_equal_if_their_configurations_are() -> None:
    models = [{"kind": "keras", "config": sequential(dense(units=units), shape=[20])} for units in (1, 1, 2)]

    first, same, other = (resolved(model=model).spec for model in models)

    assert (first, hash(first)) == (same, hash(same))
    assert first != other
    assert len({first, same, other}) == 2
