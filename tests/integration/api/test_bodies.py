"""Bodies of badly behaved clients, sent over a socket to a real server."""

import gzip
import json
import re
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack

import httpx2
import pytest
import redis

from service.api.settings import ApiSettings
from service.store.datasets import Datasets
from service.store.experiments import Experiments
from tests.support.served_api import JSON, RecordedMessages, problem, served

SPEC = b'{"model": "baseline"}'
PATHS = [("/v1/experiments", "application/json"), ("/v1/studies", "application/json"), ("/v1/datasets", "text/csv")]


@pytest.fixture
def impatient(client: redis.Redis) -> Iterator[httpx2.Client]:
    """A client of an API that waits a third of a second for a byte and accepts 64 KiB."""
    settings = ApiSettings(body_idle_s=0.3, max_body_bytes=2**16, max_upload_bytes=2**16)
    with served(Experiments(client), Datasets(client), RecordedMessages(), settings) as http:
        yield http


def connected(api: httpx2.Client) -> socket.socket:
    return socket.create_connection((api.base_url.host, api.base_url.port or 80), timeout=10)


def head(path: str, media_type: str, *headers: str) -> bytes:
    lines = [f"POST {path} HTTP/1.1", "Host: gradflow", f"Content-Type: {media_type}", *headers, "", ""]
    return "\r\n".join(lines).encode()


def answered(connection: socket.socket) -> tuple[int, bytes]:
    """Status and body of the only answer, after which the server closes the connection."""
    received = b""
    while part := connection.recv(2**16):
        received += part
    status = re.match(rb"HTTP/1.1 (\d+)", received)
    assert status is not None, received
    return int(status[1]), received.partition(b"\r\n\r\n")[2]


@pytest.mark.parametrize(("path", "media_type"), PATHS)
def test_a_declared_length_over_the_limit_is_refused_before_the_body_is_sent(
    impatient: httpx2.Client, path: str, media_type: str
) -> None:
    for length in ("65537", "9" * 18, "9" * 300):
        with connected(impatient) as connection:
            connection.sendall(head(path, media_type, f"Content-Length: {length}"))
            status, body = answered(connection)

        assert status == 400 if len(length) == 300 else status == json.loads(body)["status"] == 413


@pytest.mark.parametrize(("path", "media_type"), PATHS)
def test_an_endless_chunked_body_is_refused_at_the_limit(impatient: httpx2.Client, path: str, media_type: str) -> None:
    with connected(impatient) as connection:
        connection.sendall(head(path, media_type, "Transfer-Encoding: chunked"))
        for _ in range(17):
            connection.sendall(b"1000\r\n" + b" " * 4096 + b"\r\n")
        status, _ = answered(connection)

    assert status == 413


@pytest.mark.parametrize(("path", "media_type"), PATHS)
def test_an_incomplete_body_gets_408_after_the_idle_time(impatient: httpx2.Client, path: str, media_type: str) -> None:
    begun = time.monotonic()
    with connected(impatient) as connection:
        connection.sendall(head(path, media_type, "Content-Length: 100") + b'{"model"')
        status, body = answered(connection)

    assert status == json.loads(body)["status"] == 408
    assert time.monotonic() - begun < 5


@pytest.mark.parametrize(("path", "media_type"), PATHS)
def test_a_client_that_disconnects_within_its_body_queues_nothing_and_logs_no_error(
    api: httpx2.Client, queue: RecordedMessages, caplog: pytest.LogCaptureFixture, path: str, media_type: str
) -> None:
    with connected(api) as connection:
        connection.sendall(head(path, media_type, "Content-Length: 1000") + SPEC)
        time.sleep(0.1)
    time.sleep(0.1)

    assert api.get("/v1/experiments").json()["experiments"] == []
    assert queue.ids == []
    assert [record for record in caplog.records if record.levelname == "ERROR"] == []


def test_bytes_after_the_declared_length_are_not_part_of_the_body(api: httpx2.Client, queue: RecordedMessages) -> None:
    with connected(api) as connection:
        connection.sendall(
            head("/v1/experiments", "application/json", f"Content-Length: {len(SPEC)}") + SPEC + b"x" * 9 + b"\r\n\r\n"
        )
        status, _ = answered(connection)

    assert status == 202
    assert len(queue.ids) == 1


@pytest.mark.parametrize("headers", [("Content-Length: -1",), ("Content-Length: 1", "Content-Length: 2")])
def test_an_invalid_content_length_is_a_bad_request(api: httpx2.Client, headers: tuple[str, ...]) -> None:
    with connected(api) as connection:
        connection.sendall(head("/v1/experiments", "application/json", *headers) + SPEC)
        status, _ = answered(connection)

    assert status == 400


def test_a_hundred_slow_bodies_do_not_delay_other_requests(api: httpx2.Client) -> None:
    with ExitStack() as stack:
        for path, media_type in PATHS * 34:
            connection = stack.enter_context(connected(api))
            connection.sendall(head(path, media_type, "Content-Length: 200000") + b'{"model"')
        begun = time.monotonic()

        assert api.post("/v1/experiments", content=SPEC, headers=JSON).status_code == 202
        assert api.get("/v1/datasets").status_code == 200

        assert time.monotonic() - begun < 2


def test_only_a_few_files_are_uploaded_at_the_same_time(store: Experiments, datasets: Datasets) -> None:
    table, headers = b"a,b,kind\n1,2,x\n2,1,y\n3,2,x\n1,3,y\n", {"content-type": "text/csv"}
    with served(store, datasets, RecordedMessages(), ApiSettings(uploads=1)) as api:

        def upload() -> httpx2.Response:
            return api.post("/v1/datasets", content=table, headers=headers)

        with connected(api) as connection:
            connection.sendall(head("/v1/datasets", "text/csv", f"Content-Length: {len(table)}") + table[:-1])
            deadline = time.monotonic() + 10
            while (refused := upload()).status_code == 201 and time.monotonic() < deadline:
                time.sleep(0.01)
            assert "1 files" in problem(refused, 503)["detail"]
            assert refused.headers["retry-after"] == "5"
            assert api.get("/v1/datasets").status_code == 200
            connection.sendall(table[-1:])
            assert connection.recv(12) == b"HTTP/1.1 201"
        for _ in range(3):  # each frees its slot, even if it cannot be read or its client disconnects
            assert upload().status_code == 201
            problem(api.post("/v1/datasets", content=b"a", headers=headers), 422)
            with connected(api) as connection:
                connection.sendall(head("/v1/datasets", "text/csv", "Content-Length: 100") + table)
                time.sleep(0.1)
            time.sleep(0.1)
        assert upload().status_code == 201


@pytest.mark.parametrize(
    "media_type",
    ["text/json", "application/jsonp", "application/problem+json", "*/*", "application/json, text/csv", "json", "é"],
)
def test_a_media_type_that_only_resembles_json_gets_415(api: httpx2.Client, media_type: str) -> None:
    for path in ("/v1/experiments", "/v1/studies"):
        problem(api.post(path, content=SPEC, headers=[(b"content-type", media_type.encode())]), 415)


@pytest.mark.parametrize(
    ("body", "location"),
    [
        ('{"model": "baseline", "model": "improved"}', "body"),
        ('{"model": "baseline", "training": {"seed": 1, "seed": 1}}', "body.training"),
        ('{"model": "baseline", "name": "a\\u0000b"}', "body.name"),
        ('{"model": "baseline", "tags": ["\\udfff"]}', "body.tags.0"),
        ('{"model": "baseline", "training": {"validation_split": 1e999}}', "body.training.validation_split"),
        ('{"model": {"kind": "mlp", "dropout": NaN}}', "body.model.dropout"),
        ('{"model": {"kind": "keras", "config": {"a": -Infinity}}}', "body.model.config.a"),
        ('{"model": "baseline", "training": {"seed": ' + "9" * 400 + "}}", "body.training.seed"),
        ('{"base": {"model": "baseline", "model": 1}, "axes": {}}', "body.base"),
    ],
)
def test_json_that_parsers_read_differently_is_refused_with_its_location(
    api: httpx2.Client, queue: RecordedMessages, body: str, location: str
) -> None:
    path = "/v1/studies" if body.startswith('{"base"') else "/v1/experiments"

    (error,) = problem(api.post(path, content=body, headers=JSON), 422)["errors"]

    assert (error["location"], error["code"]) == (location, "json")
    assert queue.ids == []


def test_minus_zero_is_read_as_zero(api: httpx2.Client) -> None:
    body = '{"model": {"kind": "mlp", "dropout": -0.0}, "training": {"seed": -0, "validation_split": -0e9}}'

    answer = api.post("/v1/experiments", content=body, headers=JSON)

    spec = answer.json()["spec"]
    assert (spec["model"]["dropout"], spec["training"]["seed"], spec["training"]["validation_split"]) == (0, 0, 0)
    assert "-0" not in answer.text


@pytest.mark.parametrize(("path", "media_type"), PATHS)
def test_a_compressed_body_gets_415_and_is_not_decompressed(api: httpx2.Client, path: str, media_type: str) -> None:
    headers = {"content-type": media_type, "content-encoding": "gzip"}

    answer = api.post(path, content=gzip.compress(b" " * 10**6), headers=headers)

    assert "gzip" in problem(answer, 415)["detail"]


def test_the_name_of_a_data_set_must_not_contain_nul(api: httpx2.Client) -> None:
    answer = api.post(
        "/v1/datasets", params={"name": "a\0b"}, content=b"a,y\n1,2\n", headers={"content-type": "text/csv"}
    )

    (error,) = problem(answer, 422)["errors"]
    assert (error["location"], error["code"]) == ("query.name", "schema")


@pytest.mark.parametrize("content_type", ["application/json; charset=utf-8", "Application/JSON"])
def test_parameters_and_capitals_of_the_content_type_do_not_matter(api: httpx2.Client, content_type: str) -> None:
    answer = api.post("/v1/experiments", content=b'{"model": "baseline"}', headers={"content-type": content_type})

    assert answer.status_code == 202


@pytest.mark.parametrize("content_type", ["text/plain", "application/x-www-form-urlencoded", None])
def test_a_body_that_is_not_declared_as_json_gets_415(
    api: httpx2.Client, queue: RecordedMessages, content_type: str | None
) -> None:
    headers = {"content-type": content_type} if content_type else {}

    problem(api.post("/v1/experiments", content=b'{"model": "baseline"}', headers=headers), 415)
    assert queue.ids == []


def test_a_body_over_the_limit_gets_413_with_and_without_declared_length(
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
