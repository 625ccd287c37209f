"""Diagnosis through the API, from histories as a worker would write them."""

from typing import Any, get_args

import httpx2
import numpy as np
import pytest

from service.analysis.diagnosis import PACKS, PackName, diagnose
from service.application.evidence_reading import evidence_of
from service.application.plans import Plans
from service.application.predictions import Predictions
from service.contract.plan import Plan
from service.contract.recording_spec import Statistic
from service.store.experiments import Experiments
from tests.support.hostile_configs import dense, sequential
from tests.support.served_api import Rows, problem, submit, write

STEPS = 250  # 25 per epoch
EVERYTHING = [str(s) for s in Statistic if s is not Statistic.CLIPPED_NORM]
Json = dict[str, Any]


def falling(decades_a_layer: float) -> Any:
    """Gradient norms that lose this number of decades per layer towards the input; every other statistic is 0.1."""

    def make(planned: Plan, statistic: Statistic, rows: int) -> Rows:
        variables = planned.rows_of(statistic)
        if statistic is not Statistic.GRADIENT_NORM:
            return np.full((rows, len(variables)), 0.1)
        last = max(variable.depth for variable in variables)
        return np.tile([10.0 ** (decades_a_layer * (v.depth - last)) for v in variables], (rows, 1))

    return make


def recorded(api: httpx2.Client, store: Experiments, decades: float = 1.0, steps: int = STEPS, **spec: Any) -> str:
    experiment_id = submit(api, data={"source": "breast_cancer", "scale": "standard"}, **spec)
    epochs = np.tile([0.7, 0.5, 0.7, 0.5], (steps // 25, 1))
    write(store, experiment_id, steps, make=falling(decades), epochs=epochs)
    return experiment_id


def diagnosis(api: httpx2.Client, experiment_id: str, **query: str) -> Json:
    answer = api.get(f"/v1/experiments/{experiment_id}/diagnosis", params=query)
    assert answer.status_code == 200, answer.text
    found: Json = answer.json()
    return found


def test_vanishing_gradients_are_found_with_their_layers_and_steps(api: httpx2.Client, store: Experiments) -> None:
    experiment_id = recorded(api, store)

    found = diagnosis(api, experiment_id)

    assert (found["verdict"], found["rules"]) == ("vanishing", "gradflow")
    gravest = found["findings"][0]
    assert gravest["symptom"] == "vanishing"
    assert "dense_0" in gravest["layers"]
    assert "output" not in gravest["layers"]
    assert gravest["steps"][0] == 0
    assert gravest["steps"][1] >= 0.95 * STEPS
    assert 0 <= gravest["confidence"] <= 1
    assert gravest["remedies"]
    for remedy in gravest["remedies"]:
        spec = api.get(f"/v1/experiments/{experiment_id}").json()["spec"]
        study = {"base": spec, "axes": {path: [value] for path, value in remedy["change"].items()}}
        assert api.post("/v1/studies", json=study).status_code == 202, remedy


@pytest.mark.parametrize("rules", PACKS)
def test_every_pack_evaluates_any_stored_run_with_all_recorded_statistics(
    api: httpx2.Client, store: Experiments, rules: str
) -> None:
    experiment_id = recorded(api, store, recording={"statistics": EVERYTHING, "every": 5})

    found = diagnosis(api, experiment_id, rules=rules)

    record = store.get(experiment_id)
    predictions = Predictions()
    planned = Plans(predictions).of_record(record)
    prediction = predictions.prediction(planned) if rules == "gradflow" else None
    expected = diagnose(evidence_of(store.open(record.id), planned, prediction), rules)
    assert (found["verdict"], found["rules"]) == (expected.verdict, rules)
    assert [finding["explanation"] for finding in found["findings"]] == [f.explanation for f in expected.findings]
    assert [rule["rule"] for rule in found["not_evaluated"]] == [rule.rule for rule in expected.not_evaluated]
    assert not any(rule["needs"] for rule in found["not_evaluated"])


def test_rules_without_their_statistic_are_listed_as_not_evaluated(api: httpx2.Client, store: Experiments) -> None:
    found = diagnosis(api, recorded(api, store), rules="sagemaker")

    needs = {statistic for rule in found["not_evaluated"] for statistic in rule["needs"]}
    assert "update_ratio" in needs
    assert needs <= {str(statistic) for statistic in Statistic}


def test_before_the_first_step_no_rule_is_evaluated(api: httpx2.Client) -> None:
    experiment_id = submit(api)

    for rules in PACKS:
        found = diagnosis(api, experiment_id, rules=rules)
        assert (found["verdict"], found["findings"]) == ("not_evaluated", [])
        assert found["not_evaluated"]


def test_a_running_experiment_is_diagnosed_from_what_it_has_recorded(api: httpx2.Client, store: Experiments) -> None:
    experiment_id = recorded(api, store, steps=50)

    assert api.get(f"/v1/experiments/{experiment_id}").json()["status"] == "running"
    assert diagnosis(api, experiment_id)["verdict"] == "vanishing"


def test_a_keras_network_is_diagnosed_without_theory(api: httpx2.Client, store: Experiments) -> None:
    hidden = [dense(f"dense_{i}", 8, activation="sigmoid") for i in range(8)]
    config = sequential(*hidden, dense(activation="sigmoid"), shape=[30])
    experiment_id = recorded(api, store, model={"kind": "keras", "config": config})

    assert diagnosis(api, experiment_id)["verdict"] == "vanishing"


def test_the_diagnosis_of_a_diverged_run_has_valid_json_numbers(api: httpx2.Client, store: Experiments) -> None:
    experiment_id = submit(api)

    def broken(planned: Plan, statistic: Statistic, rows: int) -> Rows:
        norms = np.ones((rows, len(planned.rows_of(statistic))))
        norms[3:] = np.nan
        return norms

    write(store, experiment_id, 5, make=broken, outcome={"diverged_at_step": 3})

    found = diagnosis(api, experiment_id)
    assert found["verdict"] == "diverged"
    assert found["findings"][0]["steps"][0] == 3


def test_an_unknown_pack_is_refused_with_the_known_names(api: httpx2.Client) -> None:
    body = problem(api.get(f"/v1/experiments/{submit(api)}/diagnosis", params={"rules": "mine"}), 422)

    (error,) = body["errors"]
    assert (error["location"], error["code"]) == ("query.rules", "schema")
    assert all(name in error["message"] for name in PACKS)
    assert get_args(PackName) == tuple(PACKS)


def test_a_diagnosis_is_not_sent_again_until_more_is_recorded(api: httpx2.Client, store: Experiments) -> None:
    experiment_id = submit(api)
    path = f"/v1/experiments/{experiment_id}/diagnosis"
    etag = api.get(path).headers["etag"]

    again = api.get(path, headers={"if-none-match": etag})
    write(store, experiment_id, 50)
    changed = api.get(path, headers={"if-none-match": etag})

    assert (again.status_code, again.content) == (304, b"")
    assert changed.status_code == 200
    assert changed.headers["etag"] != etag
