"""The API on a real HTTP server over a real Valkey; only the queue is a list."""

import os
import re
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2
import pytest
import uvicorn

from service.app import create_app
from service.contract.errors import StoreUnavailable
from service.contract.history import HistoryChunk
from service.contract.record import Outcome, Status, Timing
from service.contract.settings import RedisSettings
from service.contract.store import Store, connect
from service.contract.workload import Limits
from service.settings import ApiSettings
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


def _serve(store: Store, queue: RecordedMessages) -> Iterator[httpx2.Client]:
    app = create_app(store, queue, ApiSettings(), Limits())
    server = uvicorn.Server(uvicorn.Config(app, log_level="error", timeout_graceful_shutdown=1))
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        with httpx2.Client(base_url=f"http://127.0.0.1:{listener.getsockname()[1]}") as http:
            while not server.started:
                time.sleep(0.01)
            yield http
        server.should_exit = True
        thread.join()


@pytest.fixture
def queue() -> RecordedMessages:
    return RecordedMessages()


@pytest.fixture
def api(store: Store, queue: RecordedMessages) -> Iterator[httpx2.Client]:
    yield from _serve(store, queue)


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
    ('{"model": "deep"}', 422, "body.model"),
    ('{"model": ', 422, "not JSON"),
    ("some text", 422, "not JSON"),
    ("[]", 422, "body"),
    ("", 422, "body"),
    pytest.param("[" * 50_000, 400, "parsing the body", id="deep"),
]


@pytest.mark.parametrize(("body", "status", "named"), BAD)
def test_a_bad_spec_is_refused_by_name_and_nothing_is_queued(
    api: httpx2.Client, queue: RecordedMessages, body: str, status: int, named: str
) -> None:
    answer = api.post("/v1/experiments", content=body, headers=JSON)

    problem = _problem(answer, status)
    assert named in problem["detail"]
    assert all(set(error) >= {"location", "message"} for error in problem.get("errors", []))
    assert queue.ids == []
    assert api.get("/v1/experiments").json()["experiments"] == []


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

    _problem(api.post("/v1/experiments", content=b" " * 300_000, headers=JSON), 413)
    _problem(api.post("/v1/experiments", content=endless(), headers=JSON), 413)
    assert queue.ids == []


def test_unknown_things_and_methods_are_problems_too(api: httpx2.Client) -> None:
    for path in ("", "/gradients", "/metrics"):
        assert "no experiment nix" in _problem(api.get(f"/v1/experiments/nix{path}"), 404)["detail"]
    _problem(api.delete("/v1/experiments/nix"), 404)
    _problem(api.post("/v1/experiments/nix/cancel"), 404)
    _problem(api.get("/nix"), 404)
    _problem(api.put("/v1/experiments"), 405)
    _problem(api.get("/v1/experiments?cursor=nix"), 400)
    _problem(api.get("/v1/experiments?limit=201"), 422)
    _problem(api.get("/v1/experiments?status=done"), 422)


def test_an_unreachable_queue_gives_503_and_leaves_nothing_behind(api: httpx2.Client, queue: RecordedMessages) -> None:
    queue.away = True

    answer = api.post("/v1/experiments", json={"model": "baseline"})

    _problem(answer, 503)
    assert int(answer.headers["retry-after"]) > 0
    assert api.get("/v1/experiments").json()["experiments"] == []


def test_without_redis_everything_is_503_and_the_process_lives() -> None:
    store = Store(connect(RedisSettings(url="unix:///no/such/socket")))
    for api in _serve(store, RecordedMessages()):
        for answer in (api.post("/v1/experiments", json={"model": "baseline"}), api.get("/v1/experiments")):
            _problem(answer, 503)
            assert "retry-after" in answer.headers
        assert api.get("/livez").status_code == 200
        assert api.get("/readyz").json() == {"redis": False, "trainers": 0}
        assert api.get("/readyz").status_code == 503


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
    _problem(api.get(f"{path}/gradients?role=wheel"), 422)
    _problem(api.get(f"{path}/gradients?format=xml"), 422)


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
