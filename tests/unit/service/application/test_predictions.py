"""The cache of predictions gives what the theory computes, and computes once for all plans that are equal to it."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from service.analysis.stored_history import StoredFirstBatch
from service.analysis.theory import NoTheory, predict, preflight
from service.application.predictions import Predictions
from service.contract.errors import InvalidSpec
from service.contract.plan import Plan
from tests.support.hostile_configs import dense, sequential
from tests.support.plans import plan_of
from tests.support.specs import initializers

Spec = dict[str, Any]

TANH = {"kind": "mlp", "depth": 4, "width": 8, "activation": "tanh"}


def planned(**parts: Any) -> Plan:
    return plan_of(**{"model": TANH, **parts})


def batch_of(seed: int) -> StoredFirstBatch:
    random = np.random.default_rng(seed)
    return StoredFirstBatch(random.random((32, 20), np.float32), random.random((32, 1), np.float32) - 0.5)


def change(part: str, field: str, values: st.SearchStrategy[Any] | list[Any]) -> st.SearchStrategy[dict[str, Any]]:
    values = st.sampled_from(values) if isinstance(values, list) else values
    return values.map(lambda value: {part: {field: value}})


# The theory reads some of these fields and ignores the others.
changes = st.one_of(
    change("model", "activation", ["relu", "tanh", "sigmoid"]),
    change("model", "normalization", ["batch", "layer"]),
    change("model", "kernel_initializer", initializers),
    change("model", "bias_initializer", initializers),
    change("model", "dropout", [0.0, 0.5]),
    change("model", "depth", [4, 31]),
    change("training", "precision", ["float32", "float64"]),
    change("training", "batch_size", [8, 9, 200]),
    change("training", "loss", ["auto", "huber"]),
    change("training", "seed", [0, 3]),
    change("training", "validation_split", [0.0, 0.5]),
    change("data", "scale", ["none", "standard", "minmax"]),
    change("data", "source", ["random", "wine", "diabetes", "blobs"]),
    change("recording", "every", [1, 3]),
)


@pytest.fixture
def predictions() -> Predictions:
    return Predictions()


def outcome_of(ask: Callable[[Plan], Any], plan: Plan) -> Any:
    try:
        return ask(plan)
    except NoTheory as error:
        return str(error)


@settings(max_examples=60)
@given(st.lists(changes, max_size=3), changes)
def test_two_specs_with_unequal_predictions_never_share_an_entry(
    before: list[dict[str, Any]], last: dict[str, Any]
) -> None:
    spec: Spec = {"model": TANH, "training": {}, "data": {"source": "random"}, "recording": {}}
    for parts in before:
        spec = {part: fields | parts.get(part, {}) for part, fields in spec.items()}
    other = {part: fields | last.get(part, {}) for part, fields in spec.items()}
    try:
        plans = [plan_of(**spec), plan_of(**other)]
    except (ValidationError, InvalidSpec):
        return
    predictions = Predictions()

    for plan in plans:
        assert outcome_of(predictions.prediction, plan) == outcome_of(predict, plan)
        assert predictions.warnings(plan) == preflight(plan)


def test_the_precision_belongs_to_the_key_because_the_caveats_depend_on_it(predictions: Predictions) -> None:
    deep = {"kind": "mlp", "depth": 40, "activation": "relu", "normalization": "batch"}

    plans = [planned(model=deep, training={"precision": precision}) for precision in ("float64", "float32")]
    caveats = [predictions.prediction(plan).caveats for plan in plans]

    assert ["chaotic in float32" in " ".join(of_one) for of_one in caveats] == [False, True]


def test_plans_that_differ_in_what_the_theory_ignores_share_an_entry(predictions: Predictions) -> None:
    first = predictions.prediction(planned())

    for other in (
        {"name": "b", "tags": ["x"], "recording": {"every": 3}},
        {"training": {"seed": 5, "epochs": 9, "optimizer": {"name": "sgd", "learning_rate": 0.5}}},
        {"data": {"source": "random", "seed": 8}},
    ):
        assert predictions.prediction(planned(**other)) is first


@pytest.mark.parametrize(
    "other",
    [
        {"model": TANH | {"width": 9}},
        {"model": TANH | {"activation": "sigmoid"}},
        {"data": {"source": "random", "features": 21}},
        {"data": {"source": "random", "scale": "standard"}},
        {"training": {"batch_size": 33}},
    ],
)
def test_plans_that_differ_in_what_the_theory_reads_have_their_own_entries(
    predictions: Predictions, other: dict[str, Any]
) -> None:
    assert predictions.prediction(planned()) == predict(planned())
    assert predictions.prediction(planned(**other)) == predict(planned(**other))
    assert predictions.prediction(planned(**other)) != predictions.prediction(planned())


def test_predictions_with_different_first_batches_and_without_one_have_their_own_entries(
    predictions: Predictions,
) -> None:
    plan, batches = planned(), [batch_of(0), batch_of(1)]

    found = [predictions.prediction(plan), *(predictions.prediction(plan, batch) for batch in batches)]

    assert [answer.form for answer in found] == ["a_priori", "conditional", "conditional"]
    assert found[1:] == [predict(plan, batch.inputs, batch.errors) for batch in batches]
    assert found[1] != found[2]
    assert predictions.prediction(planned(name="again"), batch_of(0)) is found[1]


def test_a_network_without_theory_raises_the_same_error_each_time(predictions: Predictions) -> None:
    config = sequential(dense(activation="sigmoid"), shape=[20])
    own = planned(model={"kind": "keras", "config": config})

    for _ in range(2):
        with pytest.raises(NoTheory):
            predictions.prediction(own)
    assert predictions.warnings(own) == ()


def test_the_cached_warnings_are_those_of_the_theory(predictions: Predictions) -> None:
    for model in ("baseline", "improved", TANH):
        assert predictions.warnings(planned(model=model)) == preflight(planned(model=model))
