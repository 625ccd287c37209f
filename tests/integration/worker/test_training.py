"""Experiments on a real server, API and trainer, over HTTP."""

import time
from collections.abc import Iterator

import httpx2
import pytest

from gradflow.client import ApiError, Client
from tests.support.running_stack import RunningStack


@pytest.fixture
def gradflow(stack: RunningStack) -> Iterator[Client]:
    with Client(stack.url) as client:
        yield client


def test_the_preset_records_every_kernel_at_every_step(gradflow: Client) -> None:
    experiment = gradflow.wait(gradflow.submit("baseline")["id"])

    assert experiment["status"] == "succeeded"
    assert experiment["attempts"] == 1
    assert experiment["device"]
    gradients = gradflow.gradients(experiment["id"])
    assert len(gradients["variables"]) == 12
    assert gradients["steps"] == list(range(125))
    assert all(len(row) == 125 for row in gradients["values"])
    assert all(norm > 0 for row in gradients["values"] for norm in row)
    assert gradients["first_nonfinite_step"] is None
    everything = gradflow.gradients(experiment["id"], role="all", stop=1)
    assert len(everything["variables"]) == 24


def test_theory_with_the_first_batch_agrees_with_the_measured_norms(gradflow: Client) -> None:
    experiment = gradflow.wait(gradflow.submit({"model": "baseline", "training": {"epochs": 1}})["id"])

    theory = gradflow.theory(experiment["id"])

    assert theory["form"] == "conditional"
    assert not any("first batch" in caveat for caveat in theory["caveats"])
    assert theory["measured_slope"] == pytest.approx(theory["slope"], abs=0.05)
    layers = [layer for layer in theory["layers"] if layer["role"] in ("kernel", "bias")]
    assert len(layers) == 24
    for layer in layers:
        assert abs(layer["measured_log10_norm"] - layer["log10_norm"]) < max(4 * layer["spread"], 0.05), layer
    norms = gradflow.gradients(experiment["id"], role="all", stop=1)
    measured = {layer["name"]: 10 ** layer["measured_log10_norm"] for layer in theory["layers"]}
    rows = zip(norms["variables"], norms["values"], strict=True)
    assert measured == pytest.approx({variable["name"]: row[0] for variable, row in rows})


def test_the_baseline_is_warned_of_and_diagnosed_as_vanishing_and_improved_is_not(
    gradflow: Client,
) -> None:
    baseline, improved = (gradflow.submit(preset) for preset in ("baseline", "improved"))

    verdicts = [gradflow.diagnosis(gradflow.wait(run["id"])["id"])["verdict"] for run in (baseline, improved)]

    assert any("vanishing gradient" in warning for warning in baseline["warnings"])
    assert improved["warnings"] == []
    assert verdicts[0] == "vanishing"
    assert verdicts[1] != "vanishing"


def test_times_are_measured(gradflow: Client) -> None:
    timing = gradflow.wait(gradflow.submit({"model": {"kind": "baseline", "depth": 2}})["id"])["timing"]

    assert timing["resume_s"] == timing["repeated_steps"] == 0  # no trainer died
    assert all(timing[part] > 0 for part in ("queued_s", "prepare_s", "compile_s", "train_s", "store_s"))
    assert timing["store_s"] < timing["prepare_s"] + timing["compile_s"] + timing["train_s"]


def test_the_same_spec_gives_the_same_bytes_and_another_seed_gives_different_ones(
    gradflow: Client, stack: RunningStack
) -> None:
    spec = {"model": {"kind": "improved", "depth": 3, "width": 16}, "training": {"epochs": 2, "seed": 3}}
    first = gradflow.wait(gradflow.submit(spec)["id"])
    again = gradflow.wait(gradflow.submit(first["spec"])["id"])
    other = gradflow.wait(gradflow.submit({**spec, "training": {"epochs": 2, "seed": 4}})["id"])

    def history(experiment: dict[str, str]) -> bytes:
        return httpx2.get(f"{stack.url}/v1/experiments/{experiment['id']}/gradients?role=all").content

    assert history(first) == history(again)
    assert gradflow.metrics(first["id"]) == gradflow.metrics(again["id"])
    assert history(first) != history(other)


def test_digits_are_learned(gradflow: Client) -> None:
    experiment = gradflow.wait(
        gradflow.submit(
            {
                "model": {"kind": "improved", "depth": 4},
                "data": {"source": "digits", "scale": "standard"},
                "training": {"epochs": 20},
            }
        )["id"]
    )

    assert experiment["status"] == "succeeded"
    assert experiment["outcome"]["val_accuracy"] > 0.9
    metrics = gradflow.metrics(experiment["id"])
    assert metrics["epochs"] == list(range(1, 21))
    assert metrics["val_accuracy"][-1] == pytest.approx(experiment["outcome"]["val_accuracy"], rel=1e-6)
    assert len(metrics["step_loss"]) == experiment["progress"]["total_steps"]


def test_a_running_experiment_can_be_read_and_cancelled(gradflow: Client) -> None:
    experiment_id = gradflow.submit({"model": "baseline", "training": {"epochs": 20_000}})["id"]
    for experiment in gradflow.watch(experiment_id):
        if experiment["progress"]["step"] > 0:
            break

    assert experiment["status"] == "running"
    assert len(gradflow.gradients(experiment_id)["steps"]) >= experiment["progress"]["step"]
    assert len(gradflow.metrics(experiment_id)["step_loss"]) >= experiment["progress"]["step"]
    with pytest.raises(ApiError, match="409"):
        gradflow.delete(experiment_id)

    began = time.monotonic()
    gradflow.cancel(experiment_id)
    ended = gradflow.wait(experiment_id)

    assert ended["status"] == "cancelled"
    assert time.monotonic() - began < 5  # a chunk takes a second at most
    assert 0 < ended["progress"]["step"] < ended["progress"]["total_steps"]
    assert len(gradflow.gradients(experiment_id)["steps"]) == ended["progress"]["step"]
    gradflow.delete(experiment_id)
    with pytest.raises(ApiError, match="404"):
        gradflow.get(experiment_id)


def test_a_queued_experiment_is_cancelled_at_once_and_never_trained(gradflow: Client) -> None:
    occupant = gradflow.submit({"model": "baseline", "training": {"epochs": 20_000}})["id"]
    queued = gradflow.submit("baseline")["id"]

    assert gradflow.cancel(queued)["status"] == "cancelled"
    gradflow.cancel(occupant)
    gradflow.wait(occupant)
    gradflow.wait(gradflow.submit({"model": {"kind": "baseline", "depth": 1}})["id"])  # after it in the queue

    assert gradflow.get(queued)["status"] == "cancelled"
    assert gradflow.get(queued)["attempts"] == 0


def test_a_loss_that_stops_being_finite_ends_the_run_as_a_finding(gradflow: Client) -> None:
    experiment = gradflow.wait(
        gradflow.submit(
            {
                "model": {"kind": "baseline", "depth": 1},
                "data": {"source": "breast_cancer"},
                "training": {"epochs": 50, "optimizer": {"name": "sgd", "learning_rate": 1e38}},
            }
        )["id"]
    )

    assert experiment["status"] == "succeeded"
    diverged = experiment["outcome"]["diverged_at_step"]
    assert diverged is not None
    assert experiment["progress"]["step"] == diverged + 1
    metrics = gradflow.metrics(experiment["id"])
    assert metrics["step_loss"][diverged] is None
    assert all(loss is not None for loss in metrics["step_loss"][:diverged])
