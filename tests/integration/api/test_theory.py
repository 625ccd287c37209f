"""Predictions through the API: of a spec, and of a run next to its measured gradients at step 0."""

import json
from typing import Any

import httpx2
import numpy as np
import pytest
import redis

from benchmarks.service.redis_bytes import bytes_used
from service.analysis.profile import levels, slope
from service.analysis.theory import Prediction, predict, preflight
from service.contract.history_format import FIRST_BATCH, HistoryChunk, Piece
from service.contract.plan import Plan
from service.contract.record import Outcome, Status, Timing
from service.store.attempts import Attempts
from service.store.datasets import Datasets
from service.store.experiments import Experiments
from service.store.keys import Keys
from tests.support.claims import claim_run
from tests.support.hostile_configs import dense, sequential
from tests.support.plans import plan_of
from tests.support.redis_keys import keys_of
from tests.support.served_api import RecordedMessages, problem, served, submit, write

TANH = {"kind": "mlp", "depth": 4, "width": 8, "activation": "tanh"}
OWN = {"kind": "keras", "config": sequential(dense(activation="sigmoid"), shape=[20])}


def same(answer: dict[str, Any], found: Prediction) -> None:
    assert (answer["form"], answer["slope"], answer["level"]) == (found.form, found.slope, found.level)
    names = ("name", "layer", "depth", "role", "log10_norm", "spread")
    shown = [tuple(layer[name] for name in names) for layer in answer["layers"]]
    assert shown == [tuple(getattr(layer, name) for name in names) for layer in found.layers]
    assert answer["phase"] == (None if found.phase is None else vars(found.phase))
    assert tuple(answer["caveats"][: len(found.caveats)]) == found.caveats


def batch_bytes(planned: Plan, seed: int = 0) -> bytes:
    """The bytes of a first batch as a worker writes it."""
    random = np.random.default_rng(seed)
    rows, errors = random.random((planned.batch_size, planned.shape.columns)), random.random(planned.batch_size) - 0.5
    return np.concatenate([rows.ravel(), errors]).astype("<f4").tobytes()


def with_first_batch(store: Experiments, experiment_id: str, packed: bytes) -> None:
    """Write the first step and the first batch of a queued run as one chunk."""
    attempts = Attempts(store.client)
    attempt = claim_run(attempts, experiment_id, "cpu")
    assert attempt is not None
    planned = plan_of(store.get(experiment_id).spec)
    norms = np.geomspace(1e-4, 1, len(planned.variables)).astype("<f4").tobytes()
    pieces = (Piece("gradient_norm", 0, norms), Piece("step_loss", 0, b"\0" * 4), Piece(FIRST_BATCH, 0, packed))
    attempts.append(experiment_id, attempt, HistoryChunk(0, 1, 0, pieces), Outcome())


# -------------------------------------------------------------------------------------------------- of a spec


@pytest.mark.parametrize("model", ["baseline", TANH, TANH | {"residual": "post_activation"}])
def test_a_spec_gets_its_prediction_and_nothing_is_queued(
    api: httpx2.Client, queue: RecordedMessages, client: redis.Redis, model: Any
) -> None:
    answer = api.post("/v1/theory", json={"model": model})

    assert answer.status_code == 200, answer.text
    same(answer.json(), predict(plan_of(model=model)))
    assert queue.ids == []
    assert keys_of(client) == []


def test_two_specs_that_differ_in_precision_alone_have_their_own_caveats(api: httpx2.Client) -> None:
    model = {"kind": "mlp", "depth": 40, "activation": "relu", "normalization": "batch"}

    double, single = (
        api.post("/v1/theory", json={"model": model, "training": {"precision": precision}}).json()["caveats"]
        for precision in ("float64", "float32")
    )

    assert not any("chaotic in float32" in caveat for caveat in double)
    assert any("chaotic in float32" in caveat for caveat in single)


def test_a_network_without_theory_is_refused_with_the_reason(api: httpx2.Client) -> None:
    for model in (OWN, TANH | {"kernel_initializer": "zeros"}):
        body = problem(api.post("/v1/theory", json={"model": model}), 422)

        (error,) = body["errors"]
        assert (error["location"], error["code"]) == ("body.model", "rule")
        assert len(error["message"]) > 20


@pytest.mark.parametrize(
    ("spec", "location"),
    [
        ({"model": "baseline", "extra": 1}, "body.extra"),
        ({"model": {"kind": "baseline", "depth": 100_000}}, "body.model.depth"),
        ({"model": "baseline", "training": {"epochs": 10**9}}, "body.training.epochs"),
        ({"model": "baseline", "data": {"source": "upload", "dataset_id": "0" * 24}}, "body.data.dataset_id"),
    ],
)
def test_a_spec_is_checked_as_for_an_experiment(api: httpx2.Client, spec: dict[str, Any], location: str) -> None:
    answers = [problem(api.post(path, json=spec), 422) for path in ("/v1/theory", "/v1/experiments")]

    assert answers[0] == answers[1]
    assert answers[0]["errors"][0]["location"] == location


def test_the_body_is_parsed_as_strictly_as_that_of_an_experiment(api: httpx2.Client) -> None:
    problem(api.post("/v1/theory", content=b'{"model": NaN}', headers={"content-type": "application/json"}), 422)
    problem(api.post("/v1/theory", content=b"model", headers={"content-type": "text/plain"}), 415)
    problem(api.post("/v1/theory", json={"model": "baseline", "name": "x" * 300_000}), 413)


@pytest.mark.parametrize("model", ["baseline", "improved", TANH, OWN])
def test_a_submission_gets_the_warnings_of_the_theory(api: httpx2.Client, store: Experiments, model: Any) -> None:
    planned = plan_of(model=model)

    experiment = api.post("/v1/experiments", json={"model": model}).json()

    assert tuple(experiment["warnings"]) == planned.warnings + preflight(planned)
    assert store.get(experiment["id"]).warnings == tuple(experiment["warnings"])
    assert any(warning.startswith("vanishing gradient: ") for warning in experiment["warnings"]) == (
        model == "baseline"
    )


# -------------------------------------------------------------------------------------------------- of a run


def test_before_step_0_the_prediction_uses_the_spec_alone(api: httpx2.Client) -> None:
    experiment_id = submit(api, model=TANH)

    answer = api.get(f"/v1/experiments/{experiment_id}/theory")

    assert answer.status_code == 200, answer.text
    body = answer.json()
    same(body, predict(plan_of(model=TANH)))
    assert {layer["measured_log10_norm"] for layer in body["layers"]} == {None}
    assert (body["measured_slope"], body["measured_level"]) == (None, None)
    assert body["caveats"][-1].startswith("no step has been recorded yet")


def test_with_its_first_batch_the_prediction_of_a_run_is_conditional(api: httpx2.Client, store: Experiments) -> None:
    experiment_id = submit(api, model=TANH)
    planned = plan_of(model=TANH)
    packed = batch_bytes(planned)
    with_first_batch(store, experiment_id, packed)

    body = api.get(f"/v1/experiments/{experiment_id}/theory").json()

    numbers = np.frombuffer(packed, "<f4")
    found = predict(planned, numbers[:-32].reshape(32, 20), numbers[-32:].reshape(32, 1))
    assert found.form == "conditional"
    same(body, found)
    assert tuple(body["caveats"]) == found.caveats
    gradients = api.get(f"/v1/experiments/{experiment_id}/gradients?role=all").json()
    norms = {v["name"]: row[0] for v, row in zip(gradients["variables"], gradients["values"], strict=True)}
    measured = {layer["name"]: layer["measured_log10_norm"] for layer in body["layers"]}
    assert measured == pytest.approx({name: np.log10(norms[name]) for name in measured})
    kernels = [norm for name, norm in norms.items() if name.endswith("/kernel")]
    assert body["measured_slope"] == pytest.approx(slope(kernels))
    assert body["measured_level"] == pytest.approx(levels([kernels])[0])


def test_a_first_batch_counts_as_memory_and_is_deleted_with_its_experiment(
    api: httpx2.Client, store: Experiments, client: redis.Redis
) -> None:
    experiment_id = submit(api, model=TANH)
    with_first_batch(store, experiment_id, batch_bytes(plan_of(model=TANH)))
    with_it = bytes_used(store.client, experiment_id)

    client.delete(f"gradflow:{{{experiment_id}}}:{FIRST_BATCH}")

    assert with_it - bytes_used(store.client, experiment_id) > 4 * 32 * 21
    other = submit(api, model=TANH)
    with_first_batch(store, other, batch_bytes(plan_of(model=TANH)))
    Attempts(store.client).finish(other, 1, Status.SUCCEEDED, Outcome(), Timing())
    assert api.get(f"/v1/experiments/{other}/theory").json()["form"] == "conditional"
    assert api.delete(f"/v1/experiments/{other}").status_code == 204
    assert client.keys(f"*{other}*") == []


def test_a_missing_or_nonfinite_first_batch_is_a_caveat(api: httpx2.Client, store: Experiments) -> None:
    planned = plan_of(model=TANH)
    earlier, broken = submit(api, model=TANH), submit(api, model=TANH)
    large = submit(api, model=TANH, data={"source": "random", "samples": 40, "features": 9000})
    write(store, earlier, 3)
    with_first_batch(store, broken, np.full(planned.first_batch_bytes // 4, np.inf, "<f4").tobytes())
    write(store, large, 3)

    for experiment_id, words in ((earlier, "was not kept"), (broken, "not finite"), (large, "larger than 1 MiB")):
        body = api.get(f"/v1/experiments/{experiment_id}/theory").json()
        assert body["form"] == "a_priori"
        assert words in body["caveats"][-1]


def test_norms_without_a_logarithm_are_null(api: httpx2.Client, store: Experiments) -> None:
    experiment_id = submit(api, model=TANH)
    write(store, experiment_id, 2, make=lambda *asked: np.tile([0.0, np.nan, *[1.0] * 8], (asked[-1], 1)))

    answer = api.get(f"/v1/experiments/{experiment_id}/theory")

    measured = [layer["measured_log10_norm"] for layer in answer.json()["layers"]]
    assert measured == [None, None, *[0.0] * 8]


def test_a_network_without_theory_gets_404_and_has_no_link(api: httpx2.Client) -> None:
    experiment = api.post("/v1/experiments", json={"model": OWN}).json()

    body = problem(api.get(f"{experiment['links']['self']}/theory"), 404)

    assert "the theory does not cover this run" in body["detail"]
    assert "theory" not in experiment["links"]
    assert api.get(experiment["links"]["diagnosis"]).status_code == 200
    linked = api.get(f"/v1/experiments/{submit(api, model=TANH)}").json()["links"]["theory"]
    assert api.get(linked).status_code == 200


def test_a_prediction_is_not_sent_again_until_step_0(api: httpx2.Client, store: Experiments) -> None:
    experiment_id = submit(api, model=TANH)
    path = f"/v1/experiments/{experiment_id}/theory"
    etag = api.get(path).headers["etag"]

    again = api.get(path, headers={"if-none-match": etag})
    write(store, experiment_id, 1)
    changed = api.get(path, headers={"if-none-match": etag})

    assert (again.status_code, again.content) == (304, b"")
    assert changed.status_code == 200
    assert changed.headers["etag"] != etag


def test_theory_and_diagnosis_of_another_tenants_run_are_404(
    store: Experiments, datasets: Datasets, client: redis.Redis
) -> None:
    keys = Keys(client)
    ada, bob = (f"Bearer {keys.add(name)}" for name in ("ada", "bob"))
    with served(store, datasets, RecordedMessages()) as http:
        posted = http.post("/v1/experiments", json={"model": TANH}, headers={"authorization": ada})
        here = posted.json()["links"]["self"]

        for part in ("theory", "diagnosis"):
            assert http.get(f"{here}/{part}", headers={"authorization": ada}).status_code == 200
            problem(http.get(f"{here}/{part}", headers={"authorization": bob}), 404)
            problem(http.get(f"{here}/{part}"), 401)
        problem(http.post("/v1/theory", json={"model": "baseline"}), 401)


def test_an_unknown_experiment_is_404(api: httpx2.Client) -> None:
    for part in ("theory", "diagnosis"):
        assert json.loads(api.get(f"/v1/experiments/nix/{part}").content)["status"] == 404
