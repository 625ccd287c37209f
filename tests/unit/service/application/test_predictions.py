"""What is remembered of theory, and by what it is looked up."""

from typing import Any

import numpy as np
import pytest

from service.analysis.stored_history import StoredFirstBatch
from service.analysis.theory import NoTheory, predict, preflight
from service.application.predictions import prediction_of, preflight_of
from service.contract.plan import Plan
from tests.support.hostile_configs import dense, sequential
from tests.support.plans import plan_of

TANH = {"kind": "mlp", "depth": 4, "width": 8, "activation": "tanh"}


def planned(**parts: Any) -> Plan:
    return plan_of(**{"model": TANH, **parts})


def batch_of(seed: int) -> StoredFirstBatch:
    random = np.random.default_rng(seed)
    return StoredFirstBatch(random.random((32, 20), np.float32), random.random((32, 1), np.float32) - 0.5)


def test_what_theory_does_not_read_is_no_other_question() -> None:
    first = prediction_of(planned())

    for other in (
        {"name": "b", "tags": ["x"], "recording": {"every": 3}},
        {"training": {"seed": 5, "epochs": 9, "optimizer": {"name": "sgd", "learning_rate": 0.5}}},
        {"data": {"source": "random", "seed": 8}},
    ):
        assert prediction_of(planned(**other)) is first


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
def test_whatever_theory_reads_is_another_question(other: dict[str, Any]) -> None:
    assert prediction_of(planned()) == predict(planned())
    assert prediction_of(planned(**other)) == predict(planned(**other))
    assert prediction_of(planned(**other)) != prediction_of(planned())


def test_a_first_batch_is_told_from_another_and_from_none() -> None:
    plan, batches = planned(), [batch_of(0), batch_of(1)]

    found = [prediction_of(plan), *(prediction_of(plan, batch) for batch in batches)]

    assert [answer.form for answer in found] == ["a_priori", "conditional", "conditional"]
    assert found[1:] == [predict(plan, batch.inputs, batch.errors) for batch in batches]
    assert found[1] != found[2]
    assert prediction_of(planned(name="again"), batch_of(0)) is found[1]


def test_a_network_without_theory_is_said_to_be_one_each_time() -> None:
    config = sequential(dense(activation="sigmoid"), shape=[20])
    own = planned(model={"kind": "keras", "config": config})

    for _ in range(2):
        with pytest.raises(NoTheory):
            prediction_of(own)
    assert preflight_of(own) == ()


def test_warnings_before_a_run_are_those_of_theory() -> None:
    for model in ("baseline", "improved", TANH):
        assert preflight_of(planned(model=model)) == preflight(planned(model=model))
