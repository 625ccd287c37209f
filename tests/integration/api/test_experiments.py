"""Experiments: submit, read, list, cancel, delete; on a real HTTP server over a real Valkey."""

import base64
import json
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import quote

import httpx2
import pytest
import redis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from service.contract.record import Outcome, Status, Timing
from service.store.attempts import Attempts
from service.store.datasets import Datasets
from service.store.experiments import Experiments
from service.store.publisher import CeleryPublisher
from service.store.queue import EXPERIMENTS_QUEUE, TRAIN_TASK
from service.store.settings import RedisSettings
from tests.support.keras_specs import keras_model, units
from tests.support.recorded_runs import write_with_nan
from tests.support.served_api import JSON, RecordedMessages, problem, served, submit


def test_the_answer_to_a_submission_has_its_path_and_every_default(api: httpx2.Client, queue: RecordedMessages) -> None:
    answer = api.post("/v1/experiments", json={"model": "baseline", "training": {"seed": 9}})

    body = answer.json()
    assert answer.status_code == 202
    assert answer.headers["location"] == f"/v1/experiments/{body['id']}" == body["links"]["self"]
    assert queue.ids == [body["id"]]
    assert body["status"] == "queued"
    assert body["progress"] == {"step": 0, "total_steps": 125, "epoch": 0, "epochs": 5}
    assert body["spec"]["model"] == {"kind": "baseline", "depth": 11, "width": 64}
    assert body["spec"]["data"]["seed"] == 9
    assert body["spec"]["training"]["optimizer"]["learning_rate"] == 0.001
    assert set(body) == {
        *("id", "name", "tags", "status", "progress", "spec", "outcome", "attempts", "error", "timing", "device"),
        *("created_at", "started_at", "finished_at", "warnings", "study", "links"),
    }
    again = api.post("/v1/experiments", json=body["spec"]).json()
    assert again["spec"] == body["spec"]


BAD = [
    ('{"model": "baseline", "extra": 1}', 422, "body.extra"),
    ('{"model": {"kind": "baseline", "depth": -3}}', 422, "body.model.depth"),
    ('{"model": {"kind": "baseline", "depth": NaN}}', 422, "body.model.depth"),
    (
        '{"model": "baseline", "training": {"optimizer": {"name": "sgd", "learning_rate": Infinity}}}',
        422,
        "learning_rate",
    ),
    ('{"model": {"kind": "improved", "width": 1000000000}}', 422, "parameters"),
    ('{"model": {"kind": "improved", "depth": 1000000000}}', 422, "layers"),
    ('{"model": "baseline", "training": {"epochs": 1000000}}', 422, "steps"),
    ('{"model": "baseline", "data": {"source": "random", "samples": 1}}', 422, "body.data.samples"),
    ('{"model": "baseline", "training": {"validation_split": 0.9999}}', 422, "body.training.validation_split"),
    ('{"model": {"kind": "baseline", "width": 1000000000}}', 422, "parameters"),
    ('{"model": "baseline", "training": {"batch_size": true}}', 422, "body.training.batch_size"),
    ('{"model": "baseline", "training": {"validation_split": -Infinity}}', 422, "body.training.validation_split"),
    ('{"model": "baseline", "data": {"source": "random", "samples": 100000000}}', 422, "data_bytes"),
    (
        '{"model": {"kind": "improved", "depth": 400, "width": 1}, "training": {"epochs": 4000}}',
        422,
        "recorded_values",
    ),
    (
        '{"model": {"kind": "mlp", "hidden_units": [3, 4], "residual": "post_activation"}}',
        422,
        "body.model.hidden_units: residual connections need equal widths, but 3 and 4",
    ),
    ('{"model": {"kind": "mlp", "bias_initializer": "orthogonal"}}', 422, "body.model.bias_initializer: orthogonal"),
    (
        '{"model": "baseline", "data": {"source": "diabetes"}, "training": {"loss": "binary_crossentropy"}}',
        422,
        "body.training.loss",
    ),
    (
        '{"model": "baseline", "data": {"source": "digits"}, "training": {"loss": "binary_crossentropy"}}',
        422,
        "body.training.loss",
    ),
    (
        '{"model": "improved", "training": {"batch_size": 801}}',
        422,
        "body.training.batch_size: 801 is more than the 800 training samples",
    ),
    (
        '{"model": "baseline", "training": {"early_stopping": {"monitor": "val_mae"}}}',
        422,
        "body.training.early_stopping.monitor: val_mae is not measured in this run; choose loss, accuracy, val_loss",
    ),
    ('{"model": "baseline", "recording": {"statistics": ["clipped_norm"]}}', 422, "clipped_norm needs training"),
    ('{"model": "baseline", "recording": {"statistics": ["norm"]}}', 422, "body.recording.statistics.0"),
    ('{"model": "baseline", "data": {"source": "copy_memory"}}', 422, "body.model.kind"),
    ('{"model": "baseline", "data": {"source": "digits", "shape": [9, 9]}}', 422, "body.data.shape"),
    ('{"model": {"kind": "keras", "config": "[]"}}', 422, "body.model.config: not a JSON object"),
    ('{"model": "baseline", "name": "\\ud800"}', 422, "body.name"),
    ('{"model": "baseline", "\\ud800": 1}', 422, "body"),
    ('{"model": "baseline", "data": null}', 422, "body.data"),
    ('"just text"', 422, "body"),
    ("null", 422, "body"),
    ('{"model": "deep"}', 422, "body.model"),
    ('{"model": ', 422, "not JSON"),
    ("some text", 422, "not JSON"),
    ("[]", 422, "body"),
    ("", 422, "body"),
    pytest.param("[" * 50_000, 422, "nested too deeply", id="deep"),
    pytest.param('{"model": {"kind": "baseline", "depth": ' + "9" * 5000 + "}}", 422, "body.model.depth", id="digits"),
    pytest.param(b'{"model": "baseline", "name": "\xff"}', 422, "not UTF-8 at byte", id="no UTF-8"),
]


@pytest.mark.parametrize(("body", "status", "named"), BAD)
def test_an_invalid_spec_is_refused_with_the_field_and_nothing_is_queued(
    api: httpx2.Client, queue: RecordedMessages, body: str | bytes, status: int, named: str
) -> None:
    answer = api.post("/v1/experiments", content=body, headers=JSON)

    found = problem(answer, status)
    assert named in found["detail"]
    assert ("errors" in found) == (status == 422)
    assert all(set(error) >= {"location", "message", "code"} for error in found.get("errors", []))
    assert queue.ids == []
    assert api.get("/v1/experiments").json()["experiments"] == []


def test_an_exceeded_limit_is_reported_with_value_and_maximum(api: httpx2.Client) -> None:
    answer = api.post("/v1/experiments", json={"model": {"kind": "baseline", "depth": 10**9}})

    assert problem(answer, 422)["errors"] == [
        {
            "location": "body.model.depth",
            "message": "layers: 1,000,000,000 asked for, at most 1,000 allowed",
            "code": "limit",
            "limit": "layers",
            "value": 10**9,
            "maximum": 1000,
        }
    ]


NUMBERS = st.integers(-(10**30), 10**30) | st.floats()


NAMES = [
    *("baseline", "improved", "iris", "sgd", "mse", "tanh", "batch", "orthogonal", "post_activation", "float64"),
    *("weight_norm", "clipped_norm", "dead_fraction", "1/sqrt(depth)", "binary_crossentropy"),
]


VALUES = st.recursive(
    st.none() | st.booleans() | NUMBERS | st.text(max_size=10) | st.sampled_from(NAMES),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=5,
)


FIELDS = [
    *(("name",), ("tags",), ("model",), ("model", "kind"), ("model", "depth"), ("model", "width"), ("data",)),
    *(("data", "source"), ("data", "samples"), ("data", "features"), ("data", "seed"), ("training",)),
    *(("training", field) for field in ("epochs", "batch_size", "validation_split", "shuffle", "seed", "optimizer")),
    *(("training", "optimizer", field) for field in ("name", "learning_rate", "beta_1", "momentum")),
    *(("training", field) for field in ("loss", "precision", "early_stopping", "gradient_clipping")),
    *(("training", field) for field in ("learning_rate_schedule", "stop_on_divergence")),
    *(("recording",), ("recording", "every"), ("recording", "statistics"), ("recording", "keep_model")),
    *(("model", field) for field in ("hidden_units", "activation", "kernel_initializer", "bias_initializer")),
    *(("model", field) for field in ("normalization", "residual", "residual_scale", "dropout", "config")),
]


@given(place=st.sampled_from(FIELDS), value=VALUES, kind=st.sampled_from(["baseline", "mlp", "keras"]))
@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_value_of_any_field_is_accepted_or_refused_with_its_location(
    api: httpx2.Client, queue: RecordedMessages, place: tuple[str, ...], value: Any, kind: str
) -> None:
    queue.ids.clear()
    spec: dict[str, Any] = {
        "model": {"kind": kind} | (keras_model(units(1, "sigmoid")) if kind == "keras" else {}),
        "data": {"source": "random"},
        "training": {"optimizer": {"name": "adam"}},
        "recording": {},
    }
    part = spec
    for name in place[:-1]:
        part = part[name]
    part[place[-1]] = value

    answer = api.post("/v1/experiments", content=json.dumps(spec), headers=JSON)

    if answer.status_code == 202:
        assert queue.ids == [answer.json()["id"]]
        return
    errors = problem(answer, 422)["errors"]
    assert queue.ids == []
    # A limit on a product of fields, such as rows times columns, may be reported at another of them.
    # A contradiction of two parts has the location `body`, and its message begins with one of them.
    assert any(
        error["location"].startswith(f"body.{place[0]}")
        or "limit" in error
        or (error["location"] == "body" and error["message"].startswith(place[0]))
        for error in errors
    )


def test_unknown_ids_paths_methods_and_parameters_are_problems(api: httpx2.Client) -> None:
    for path in ("", "/gradients", "/metrics", "/model"):
        assert "no experiment nix" in problem(api.get(f"/v1/experiments/nix{path}"), 404)["detail"]
    problem(api.delete("/v1/experiments/nix"), 404)
    problem(api.post("/v1/experiments/nix/cancel"), 404)
    problem(api.get("/nix"), 404)
    refused = api.put("/v1/experiments")
    assert problem(refused, 405)["title"] == "Method Not Allowed"
    assert refused.headers["allow"]
    problem(api.get("/v1/experiments?cursor=nix"), 400)
    problem(api.get("/v1/experiments?limit=201"), 422)
    problem(api.get("/v1/experiments?status=done"), 422)


@given(st.text(min_size=1, max_size=40).filter(lambda text: text not in (".", "..")))
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_text_may_be_an_unknown_id(api: httpx2.Client, text: str) -> None:
    for path in ("", "/gradients"):
        problem(api.get(f"/v1/experiments/{quote(text, safe='')}{path}"), 404)


def test_a_recorded_experiment_is_accepted_even_if_its_message_cannot_be_sent(
    api: httpx2.Client, queue: RecordedMessages
) -> None:
    queue.away = True

    answer = api.post("/v1/experiments", json={"model": "baseline"})

    assert answer.status_code == 202
    assert [e["id"] for e in api.get("/v1/experiments").json()["experiments"]] == [answer.json()["id"]]


def test_concurrent_submissions_create_one_experiment_each(api: httpx2.Client, queue: RecordedMessages) -> None:
    with ThreadPoolExecutor(8) as clients:
        ids = list(clients.map(lambda _: submit(api), range(40)))

    assert len(set(ids)) == 40
    assert sorted(queue.ids) == sorted(ids)
    assert {e["id"] for e in api.get("/v1/experiments?status=queued&limit=200").json()["experiments"]} == set(ids)


def test_the_message_to_the_workers_contains_only_the_id(
    redis_settings: RedisSettings, store: Experiments, datasets: Datasets, client: redis.Redis
) -> None:
    with served(store, datasets, CeleryPublisher(redis_settings)) as api:
        experiment_id = submit(api)

    [raw] = client.lrange(EXPERIMENTS_QUEUE, 0, -1)
    message = json.loads(raw)
    assert message["content-type"] == "application/json"  # a pickled message could execute code
    assert message["headers"]["task"] == TRAIN_TASK
    arguments, named, _ = json.loads(base64.b64decode(message["body"]))
    assert (arguments, named) == ([experiment_id], {})


def test_a_list_shows_the_same_experiment_as_its_own_path(api: httpx2.Client) -> None:
    experiment_id = submit(api, name="naïve", tags=["a b&c=d"])

    [listed] = api.get("/v1/experiments", params={"tag": "a b&c=d"}).json()["experiments"]

    assert listed == api.get(f"/v1/experiments/{experiment_id}").json()
    assert (listed["name"], listed["tags"]) == ("naïve", ["a b&c=d"])
    assert all(api.get(listed["links"][part]).status_code == 200 for part in ("self", "gradients", "metrics"))


def test_lists_are_filtered_and_paged(api: httpx2.Client) -> None:
    ids = [submit(api, tags=["odd" if i % 2 else "even"], name=f"run {i}") for i in range(7)]
    api.post(f"/v1/experiments/{ids[0]}/cancel")

    seen: list[str] = []
    query: dict[str, str | int] = {"limit": 3}
    while True:
        page = api.get("/v1/experiments", params=query).json()
        seen += [experiment["id"] for experiment in page["experiments"]]
        if page["next_cursor"] is None:
            break
        query["cursor"] = page["next_cursor"]

    assert seen == sorted(ids, reverse=True)
    tagged = api.get("/v1/experiments?tag=odd").json()["experiments"]
    assert {experiment["name"] for experiment in tagged} == {"run 1", "run 3", "run 5"}
    cancelled = api.get("/v1/experiments?status=cancelled&tag=even").json()["experiments"]
    assert [experiment["id"] for experiment in cancelled] == [ids[0]]


def test_cancelling_and_deleting_follow_the_status(api: httpx2.Client, store: Experiments, attempts: Attempts) -> None:
    running, queued = submit(api), submit(api)
    attempt = write_with_nan(store, running, steps=10)

    assert api.post(f"/v1/experiments/{queued}/cancel").status_code == 202
    assert api.post(f"/v1/experiments/{queued}/cancel").status_code == 200
    assert api.post(f"/v1/experiments/{running}/cancel").status_code == 202
    problem(api.delete(f"/v1/experiments/{running}"), 409)
    attempts.finish(running, attempt, Status.CANCELLED, Outcome(), Timing())
    for experiment_id in (queued, running):
        assert api.delete(f"/v1/experiments/{experiment_id}").status_code == 204
        problem(api.get(f"/v1/experiments/{experiment_id}"), 404)
