"""Calls that worked before 0.2.0 send the same requests through the old name of the client."""

import inspect
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from gradflow import GradflowClient
from tests.support.canned_service import CannedService

# The signatures of commit 31bc470, without self.
OLD_SIGNATURES = {
    "__init__": "(url, key)",
    "submit": "(spec, key)",
    "get": "(experiment_id)",
    "list": "(**query)",
    "gradients": "(experiment_id, **query)",
    "metrics": "(experiment_id)",
    "theory": "(experiment_id)",
    "predict": "(spec)",
    "diagnosis": "(experiment_id, rules)",
    "model": "(experiment_id)",
    "upload": "(file, **query)",
    "submit_study": "(study, key)",
    "study": "(study_id, **query)",
    "study_csv": "(study_id, **query)",
    "studies": "(limit)",
    "cancel_study": "(study_id)",
    "delete_study": "(study_id)",
    "watch_study": "(study_id)",
    "cancel": "(experiment_id)",
    "delete": "(experiment_id)",
    "ready": "()",
    "trainers": "()",
    "watch": "(experiment_id)",
    "events": "(experiment_id)",
    "wait": "(experiment_id)",
}

Call = Callable[[GradflowClient, Path], Any]
CALLS: list[tuple[Call, str, dict[str, list[str]]]] = [
    (
        lambda client, _: list(client.list(cursor="x", limit="2", tag=None, new="1")),
        "GET /v1/experiments",
        {"cursor": ["x"], "limit": ["2"], "new": ["1"]},
    ),
    (
        lambda client, _: client.gradients("a", statistic="update_ratio", start=0, format="json"),
        "GET /v1/experiments/a/gradients",
        {"statistic": ["update_ratio"], "start": ["0"], "format": ["json"]},
    ),
    (
        lambda client, file: client.upload(file, name="n", task=None, new="1"),
        "POST /v1/datasets",
        {"name": ["n"], "new": ["1"]},
    ),
    (
        lambda client, _: client.study("a", steps="0", format="json"),
        "GET /v1/studies/a",
        {"steps": ["0"], "format": ["json"]},
    ),
    (
        lambda client, _: client.study_csv("a", steps="0", new="1"),
        "GET /v1/studies/a",
        {"steps": ["0"], "new": ["1"], "format": ["csv"]},
    ),
]


def _signature(method: Callable[..., Any]) -> str:
    _self, *parameters = inspect.signature(method).parameters.values()
    names = ("**" + p.name if p.kind is p.VAR_KEYWORD else p.name for p in parameters)
    return f"({', '.join(names)})"


def test_every_method_takes_the_arguments_that_it_took_before() -> None:
    assert {name: _signature(getattr(GradflowClient, name)) for name in OLD_SIGNATURES} == OLD_SIGNATURES


@pytest.fixture
def client(service: CannedService) -> Iterator[GradflowClient]:
    with GradflowClient(service.url) as client:
        yield client


@pytest.mark.parametrize(("call", "target", "query"), CALLS, ids=["list", "gradients", "upload", "study", "study_csv"])
def test_further_query_parameters_are_sent(
    service: CannedService,
    client: GradflowClient,
    tmp_path: Path,
    call: Call,
    target: str,
    query: dict[str, list[str]],
) -> None:
    service.answer(target, {"experiments": [], "next_cursor": None})
    file = tmp_path / "data.csv"
    file.write_bytes(b"a,b\n")

    call(client, file)

    (request,) = service.requests
    assert (request.target, request.query) == (target, query)
