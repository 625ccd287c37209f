"""Networks in the form that Keras prints: what is accepted, and what is refused with its location."""

import json
from typing import Any

import httpx2
import pytest

from tests.support.keras_specs import keras_model, units
from tests.support.served_api import RecordedMessages, problem

EMBEDDING: tuple[str, dict[str, Any]] = ("Embedding", {"input_dim": 20, "output_dim": 2})


MISFITS: list[tuple[dict[str, Any], dict[str, Any], str]] = [
    (keras_model(units(1, "sigmoid")), {"data": {"source": "digits"}}, "body.model"),
    (keras_model(units(1, "sigmoid")), {"data": {"source": "diabetes"}}, "body.model"),
    (keras_model(units(1, "sigmoid")), {"training": {"loss": "categorical_crossentropy"}}, "body.training.loss"),
    (keras_model(units(1, "sigmoid")), {"recording": {"statistics": ["activation_mean"]}}, "body.recording.statistics"),
    (keras_model(units(1, "sigmoid", trainable=False)), {}, "body.model.config"),
    (keras_model(units(1, "sigmoid", bias_initializer="orthogonal")), {}, "body.model.config"),
    (keras_model(("LSTM", {"units": 2}), units(1, "sigmoid")), {}, "body.model.config"),
    (keras_model(EMBEDDING, ("Flatten", {}), units(1, "sigmoid")), {}, "body.model.config"),
    (keras_model(("Lambda", {}), units(1, "sigmoid")), {}, "body.model.config"),
]


@pytest.mark.parametrize(("model", "rest", "location"), MISFITS)
def test_a_network_that_contradicts_the_spec_is_refused_and_nothing_is_queued(
    api: httpx2.Client, queue: RecordedMessages, model: dict[str, Any], rest: dict[str, Any], location: str
) -> None:
    [error] = problem(api.post("/v1/experiments", json={"model": model, **rest}), 422)["errors"]

    assert error["location"] == location
    assert error["message"]
    assert queue.ids == []


def test_a_network_may_be_an_object_or_the_text_that_keras_prints(api: httpx2.Client) -> None:
    model = keras_model(units(4, "tanh"), units(1, "linear"))
    as_text = {"kind": "keras", "config": json.dumps(model["config"])}

    first = api.post("/v1/experiments", json={"model": model}).json()
    second = api.post("/v1/experiments", json={"model": as_text}).json()

    assert first["spec"] == second["spec"]
    assert len(first["warnings"]) == 1
    assert "logits" in first["warnings"][0]
    variables = api.get(f"{first['links']['self']}/gradients").json()["variables"]
    assert [variable["name"] for variable in variables] == ["layer_0/kernel", "layer_1/kernel"]
