"""One spec gives one history: alone, in a study, with a cached program, and in another process."""

import json
from collections.abc import Iterator
from typing import Any

import httpx2
import numpy as np
import pytest

from gradflow.client import Client
from service.contract.recording_spec import Statistic
from tests.support.plans import plan_of
from tests.support.running_stack import RunningStack
from tests.support.training_runs import run_of

SPECS: dict[str, dict[str, Any]] = {
    "an unrolled network": {"model": {"kind": "baseline", "depth": 5, "width": 16}},
    "a loop over equal layers": {"model": {"kind": "improved", "depth": 12, "width": 8}},
    "dropout": {"model": {"kind": "mlp", "depth": 6, "width": 8, "dropout": 0.2, "normalization": "layer"}},
    "XLA": {"model": {"kind": "baseline", "depth": 3, "width": 4}, "training": {"epochs": 101}},
    "a smaller last batch": {"model": {"kind": "mlp", "depth": 5, "width": 8}, "data": {"source": "iris"}},
}


@pytest.fixture
def gradflow(stack: RunningStack) -> Iterator[Client]:
    with Client(stack.url) as client:
        yield client


def history(stack: RunningStack, experiment: dict[str, Any]) -> bytes:
    """Gradients and metrics as the API returns them."""
    assert experiment["status"] == "succeeded"
    address = f"{stack.url}/v1/experiments/{experiment['id']}"
    return httpx2.get(f"{address}/gradients?role=all").content + httpx2.get(f"{address}/metrics").content


@pytest.mark.parametrize("name", SPECS)
def test_a_run_gives_the_same_bytes_alone_and_in_a_study_after_others(
    gradflow: Client, stack: RunningStack, name: str
) -> None:
    # given a run whose architecture no trainer has seen
    spec = SPECS[name] | {"training": {**SPECS[name].get("training", {}), "seed": 2}}
    alone = history(stack, gradflow.wait(gradflow.submit(spec)["id"]))

    # when a study contains the same run, after other seeds and learning rates of its architecture
    axes = {"training.optimizer.learning_rate": [0.01, 0.001], "training.seed": [0, 2]}
    study = gradflow.submit_study({"base": SPECS[name], "axes": axes})
    *_, ended = gradflow.watch_study(study["id"])
    runs = list(gradflow.list(study=study["id"]))

    # then
    assert ended["status"] == "succeeded"
    same = [r for r in runs if r["spec"]["training"]["seed"] == 2 and _rate(r) == 0.001]
    others = [r for r in runs if r["id"] != same[0]["id"]]
    assert len(same) == 1
    assert history(stack, same[0]) == alone
    assert all(history(stack, other) != alone for other in others)
    assert history(stack, gradflow.wait(gradflow.submit(spec)["id"])) == alone


def _rate(experiment: dict[str, Any]) -> float:
    rate: float = experiment["spec"]["training"]["optimizer"]["learning_rate"]
    return rate


@pytest.mark.parametrize("name", SPECS)
def test_a_run_gives_the_same_bytes_in_another_process(gradflow: Client, stack: RunningStack, name: str) -> None:
    experiment = gradflow.wait(gradflow.submit(SPECS[name])["id"])
    recorded = httpx2.get(f"{stack.url}/v1/experiments/{experiment['id']}/gradients?role=all").json()["values"]

    chunks = list(run_of(plan_of(**json.loads(json.dumps(SPECS[name])))).chunks())

    here = np.concatenate([chunk.recorded[Statistic.GRADIENT_NORM] for chunk in chunks]).T
    np.testing.assert_array_equal(np.array(recorded), here.astype(np.float64))


def test_another_seed_rate_or_length_of_an_architecture_compiles_nothing(gradflow: Client) -> None:
    spec = {"model": {"kind": "mlp", "depth": 7, "width": 9, "activation": "elu"}}
    first = gradflow.wait(gradflow.submit(spec)["id"])

    for training in ({"seed": 1}, {"optimizer": {"name": "adam", "learning_rate": 0.1}}, {"epochs": 7}):
        again = gradflow.wait(gradflow.submit({**spec, "training": training})["id"])
        assert again["timing"]["compile_s"] < first["timing"]["compile_s"] / 100
