"""The client against a small HTTP server that answers what it is told."""

import json
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from gradflow.client import ApiError, Client, Unreachable

PROBLEM, JSON, HTML = "application/problem+json", "application/json", "text/html"


class Canned(ThreadingHTTPServer):
    """Answers each `METHOD /path` with the next of its canned answers (the last one again and again)."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.url = f"http://127.0.0.1:{self.server_port}"
        self.answers: dict[str, list[tuple[int, str, str]]] = {}
        self.seen: list[tuple[str, dict[str, list[str]], Any]] = []

    def answer(self, request: str, *bodies: Any, status: int = 200, media_type: str = JSON) -> None:
        self.answers[request] = [
            (status, media_type, body if isinstance(body, str) else json.dumps(body)) for body in bodies
        ]


class _Handler(BaseHTTPRequestHandler):
    server: Canned

    def _serve(self) -> None:
        address = urlsplit(self.path)
        body = self.rfile.read(int(self.headers.get("content-length", 0)))
        request = f"{self.command} {address.path}"
        self.server.seen.append((request, parse_qs(address.query), json.loads(body) if body else None))
        answers = self.server.answers.get(request, [(404, HTML, "<h1>no such page</h1>")])
        status, media_type, text = answers.pop(0) if len(answers) > 1 else answers[0]
        self.send_response(status)
        self.send_header("content-type", media_type)
        self.send_header("content-length", str(len(text.encode())))
        self.end_headers()
        self.wfile.write(text.encode())

    do_GET = do_POST = do_DELETE = _serve  # noqa: N815 - the names that http.server looks for

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the name in http.server
        """Say nothing."""


@pytest.fixture
def server() -> Iterator[Canned]:
    with Canned() as running:
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield running
        running.shutdown()
        thread.join()


@pytest.fixture
def client(server: Canned) -> Iterator[Client]:
    with Client(server.url) as client:
        yield client


def test_theory_and_diagnosis_are_asked_for_by_their_paths(server: Canned, client: Client) -> None:
    server.answer("GET /v1/experiments/a/theory", {"form": "conditional"})
    server.answer("GET /v1/experiments/a/diagnosis", {"verdict": "healthy"})
    server.answer("POST /v1/theory", {"form": "a_priori"})

    assert client.theory("a") == {"form": "conditional"}
    assert client.diagnosis("a") == client.diagnosis("a", "sagemaker") == {"verdict": "healthy"}
    assert client.predict("improved") == client.predict({"model": "baseline"}) == {"form": "a_priori"}

    assert [(query, body) for _, query, body in server.seen] == [
        ({}, None),
        ({}, None),
        ({"rules": ["sagemaker"]}, None),
        ({}, {"model": "improved"}),
        ({}, {"model": "baseline"}),
    ]


def test_a_preset_and_a_spec_are_posted_as_json(server: Canned, client: Client) -> None:
    server.answer("POST /v1/experiments", {"id": "a"}, status=202)
    spec = {"model": {"kind": "improved", "depth": 3}}

    assert client.submit("baseline") == {"id": "a"}
    client.submit(spec)

    assert [body for _, _, body in server.seen] == [{"model": "baseline"}, spec]


def test_a_list_goes_on_from_page_to_page_with_the_same_query(server: Canned, client: Client) -> None:
    server.answer(
        "GET /v1/experiments",
        {"experiments": [{"id": "c"}, {"id": "b"}], "next_cursor": "x"},
        {"experiments": [{"id": "a"}], "next_cursor": None},
    )

    listed = list(client.list(status=None, tag="deep", limit=2))

    assert [experiment["id"] for experiment in listed] == ["c", "b", "a"]
    assert [query for _, query, _ in server.seen] == [
        {"tag": ["deep"], "limit": ["2"]},
        {"tag": ["deep"], "limit": ["2"], "cursor": ["x"]},
    ]


def test_watching_yields_each_state_and_ends_with_the_run(server: Canned, client: Client) -> None:
    states = [{"status": status} for status in ("queued", "running", "cancelled")]
    server.answer("GET /v1/experiments/a", *states)

    assert list(client.watch("a")) == states
    assert client.wait("a") == {"status": "cancelled"}


def test_parts_of_an_experiment_have_their_own_addresses(server: Canned, client: Client) -> None:
    for request in (
        "GET /v1/experiments/a/gradients",
        "GET /v1/experiments/a/metrics",
        "POST /v1/experiments/a/cancel",
    ):
        server.answer(request, {"from": request})
    server.answer("DELETE /v1/experiments/a", "", status=204)

    assert client.gradients("a", role="all")["from"].endswith("gradients")
    assert client.metrics("a")["from"].endswith("metrics")
    assert client.cancel("a")["from"].endswith("cancel")
    client.delete("a")
    assert server.seen[0][1] == {"role": ["all"]}


def test_a_study_has_calls_of_its_own(server: Canned, client: Client) -> None:
    body = {"base": {"model": "baseline"}, "axes": {"training.seed": [0]}}
    server.answer("POST /v1/studies", {"id": "a"}, status=202)
    server.answer("GET /v1/studies/a", {"id": "a", "table": []})
    server.answer("POST /v1/studies/a/cancel", {"id": "a"}, status=202)
    server.answer("DELETE /v1/studies/a", "", status=204)

    assert client.submit_study(body) == {"id": "a"}
    assert client.study("a", steps="0,-1") == {"id": "a", "table": []}
    assert client.cancel_study("a") == {"id": "a"}
    client.delete_study("a")
    assert server.seen[:2] == [("POST /v1/studies", {}, body), ("GET /v1/studies/a", {"steps": ["0,-1"]}, None)]


def test_a_study_s_table_comes_as_csv_too(server: Canned, client: Client) -> None:
    server.answer("GET /v1/studies/a", "replicates,missing\n1,0\n", media_type="text/csv")

    assert client.study_csv("a", steps="0") == "replicates,missing\n1,0\n"
    assert server.seen[0][1] == {"format": ["csv"], "steps": ["0"]}


def test_studies_and_the_experiments_of_one_are_listed_page_by_page(server: Canned, client: Client) -> None:
    server.answer(
        "GET /v1/studies",
        {"studies": [{"id": "b"}], "next_cursor": "x"},
        {"studies": [{"id": "a"}], "next_cursor": None},
    )
    server.answer("GET /v1/experiments", {"experiments": [{"id": "c"}], "next_cursor": None})

    assert [study["id"] for study in client.studies(limit=1)] == ["b", "a"]
    assert list(client.list(study="a", status="failed")) == [{"id": "c"}]
    assert [query for _, query, _ in server.seen] == [
        {"limit": ["1"]},
        {"limit": ["1"], "cursor": ["x"]},
        {"study": ["a"], "status": ["failed"]},
    ]


def test_watching_a_study_ends_with_it(server: Canned, client: Client) -> None:
    states = [{"status": status} for status in ("running", "failed")]
    server.answer("GET /v1/studies/a", *states)

    assert list(client.watch_study("a")) == states


def test_an_id_is_one_part_of_the_path_whatever_it_holds(server: Canned, client: Client) -> None:
    with pytest.raises(ApiError):
        client.get("a/metrics?x=1")

    assert server.seen[0][0] == "GET /v1/experiments/a%2Fmetrics%3Fx%3D1"


def test_a_problem_is_an_error_with_all_its_parts(server: Canned, client: Client) -> None:
    errors = [{"location": "body.model", "message": "missing"}]
    problem = {"title": "Unprocessable Entity", "detail": "body.model: missing", "errors": errors}
    server.answer("POST /v1/experiments", problem, status=422, media_type=PROBLEM)

    with pytest.raises(ApiError) as raised:
        client.submit({})

    assert (raised.value.status, raised.value.title) == (422, "Unprocessable Entity")
    assert (raised.value.detail, raised.value.errors) == ("body.model: missing", errors)
    assert str(raised.value) == "422 Unprocessable Entity: body.model: missing"


@pytest.mark.parametrize(("body", "media_type"), [("<h1>oh</h1>", HTML), ("{", PROBLEM), ("[]", JSON)])
def test_a_refusal_that_is_no_problem_keeps_its_status(
    server: Canned, client: Client, body: str, media_type: str
) -> None:
    server.answer("GET /v1/experiments/a", body, status=502, media_type=media_type)

    with pytest.raises(ApiError, match="502 Bad Gateway"):
        client.get("a")


@pytest.mark.parametrize("body", ["<h1>hello</h1>", "[]"])
def test_an_answer_that_is_not_gradflows_is_said(server: Canned, client: Client, body: str) -> None:
    server.answer("GET /v1/experiments/a", body)

    with pytest.raises(Unreachable, match="is not gradflow"):
        client.get("a")


def test_nobody_there_names_the_address_and_what_to_do() -> None:
    with socket.socket() as bound_but_deaf:
        bound_but_deaf.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{bound_but_deaf.getsockname()[1]}"
        with Client(url) as client:
            with pytest.raises(Unreachable, match=f"nobody answers at {url}.*gradflow up"):
                client.get("a")
            assert not client.ready()
            assert client.trainers() is None


@pytest.mark.parametrize("url", ["localhost:8000", "", "http://", "http://[::1", "ftp://127.0.0.1", "http://h:port"])
def test_what_is_no_address_is_said_before_anything_is_sent(url: str) -> None:
    with pytest.raises(Unreachable, match=r"is no address.*http://127\.0\.0\.1:8000"):
        Client(url)


def test_ready_means_that_a_trainer_is(server: Canned, client: Client) -> None:
    server.answer("GET /readyz", {"redis": True, "trainers": 0}, status=503)
    assert (client.ready(), client.trainers()) == (False, 0)

    server.answer("GET /readyz", {"redis": True, "trainers": 2})
    assert (client.ready(), client.trainers()) == (True, 2)


@pytest.mark.parametrize("body", ["ok", {"status": "up"}, [], {"trainers": "some"}])
def test_another_server_that_calls_itself_ready_is_not_gradflow(server: Canned, client: Client, body: Any) -> None:
    server.answer("GET /readyz", body)

    assert (client.ready(), client.trainers()) == (False, None)


def test_the_client_loads_neither_the_service_nor_its_libraries() -> None:
    program = "import sys, gradflow.client; print(*sorted({name.partition('.')[0] for name in sys.modules}))"
    loaded = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout.split()

    assert "httpx2" in loaded
    assert not {"celery", "redis", "fastapi", "numpy", "pydantic", "tensorflow"} & set(loaded)
