"""Requests, their errors, and repetitions."""

import socket
from typing import Any

import pytest

from gradflow.client import Client
from gradflow.errors import ApiError, GradflowError, Unreachable
from tests.support.canned_service import HTML, JSON, PROBLEM, CannedService


def test_a_problem_response_is_an_error_with_all_its_fields(service: CannedService) -> None:
    errors = [{"location": "body.model", "message": "missing"}]
    problem = {"title": "Unprocessable Entity", "detail": "body.model: missing", "errors": errors}
    service.answer("POST /v1/experiments", problem, status=422, media_type=PROBLEM)

    with Client(service.url) as client, pytest.raises(ApiError) as raised:
        client.submit({})

    assert (raised.value.status, raised.value.title) == (422, "Unprocessable Entity")
    assert (raised.value.detail, raised.value.errors) == ("body.model: missing", errors)
    assert str(raised.value) == "422 Unprocessable Entity: body.model: missing"


@pytest.mark.parametrize(("body", "media_type"), [("<h1>oh</h1>", HTML), ("{", PROBLEM), ("[]", JSON)])
def test_an_error_response_of_another_kind_keeps_its_status(service: CannedService, body: str, media_type: str) -> None:
    service.answer("GET /v1/experiments/a", body, status=502, media_type=media_type)

    with Client(service.url) as client, pytest.raises(ApiError, match="502 Bad Gateway"):
        client.get("a")


@pytest.mark.parametrize("body", ["<h1>hello</h1>", "[]"])
def test_a_response_that_is_not_a_json_object_is_not_from_gradflow(service: CannedService, body: str) -> None:
    service.answer("GET /v1/experiments/a", body)

    with Client(service.url) as client, pytest.raises(Unreachable, match="is not gradflow"):
        client.get("a")


def test_a_closed_port_is_named_with_the_command_that_starts_gradflow() -> None:
    with socket.socket() as bound_without_listening:
        bound_without_listening.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{bound_without_listening.getsockname()[1]}"
        with Client(url) as client:
            with pytest.raises(Unreachable, match=f"nothing answers at {url}.*gradflow up"):
                client.get("a")
            assert not client.ready()
            assert client.trainers() is None


@pytest.mark.parametrize("url", ["localhost:8000", "", "http://", "http://[::1", "ftp://127.0.0.1", "http://h:port"])
def test_an_invalid_address_is_rejected_before_anything_is_sent(url: str) -> None:
    with pytest.raises(Unreachable, match=r"is not a valid address.*http://127\.0\.0\.1:8000"):
        Client(url)


def test_a_request_over_the_rate_limit_is_sent_again_after_the_pause(service: CannedService) -> None:
    service.answer("GET /v1/experiments/a", "", "", status=429, headers={"retry-after": "0"})
    service.answer("GET /v1/experiments/a", {"id": "a"})

    with Client(service.url) as client:
        assert client.get("a") == {"id": "a"}

    assert len(service.requests) == 3


@pytest.mark.parametrize(("headers", "attempts"), [({"retry-after": "0"}, 10), ({}, 1)])
def test_a_request_that_stays_over_the_rate_limit_is_an_error(
    service: CannedService, headers: dict[str, Any], attempts: int
) -> None:
    service.answer("GET /v1/experiments/a", "", status=429, headers=headers)

    with Client(service.url) as client, pytest.raises(ApiError, match="429"):
        client.get("a")

    assert len(service.requests) == attempts


@pytest.mark.parametrize("error", [ApiError, Unreachable])
def test_all_errors_have_one_base_class(error: type[Exception]) -> None:
    assert issubclass(error, GradflowError)
