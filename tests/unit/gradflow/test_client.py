"""The client against a server with prepared responses."""

import contextlib
import inspect
import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest

from gradflow.client import Client
from gradflow.errors import ApiError
from tests.support.canned_service import CannedService

API_PAGE = Path(__file__).parents[3] / "docs" / "api.md"


@pytest.fixture
def client(service: CannedService) -> Iterator[Client]:
    with Client(service.url) as client:
        yield client


def test_a_preset_and_a_spec_are_posted_as_json(service: CannedService, client: Client) -> None:
    service.answer("POST /v1/experiments", {"id": "a"}, status=202)
    spec = {"model": {"kind": "improved", "depth": 3}}

    assert client.submit("baseline") == {"id": "a"}
    client.submit(spec)

    assert [request.json for request in service.requests] == [{"model": "baseline"}, spec]


def test_an_idempotency_key_is_sent_as_a_header(service: CannedService, client: Client) -> None:
    service.answer("POST /v1/experiments", {"id": "a"}, status=202)
    service.answer("POST /v1/studies", {"id": "b"}, status=202)

    client.submit("baseline", key="tuesday-1")
    client.submit_study({"base": {}, "axes": {}}, key="tuesday-2")
    client.submit("baseline")

    assert [request.headers.get("idempotency-key") for request in service.requests] == ["tuesday-1", "tuesday-2", None]


def test_theory_and_diagnosis_have_their_own_paths(service: CannedService, client: Client) -> None:
    service.answer("GET /v1/experiments/a/theory", {"form": "conditional"})
    service.answer("GET /v1/experiments/a/diagnosis", {"verdict": "healthy"})
    service.answer("POST /v1/theory", {"form": "a_priori"})

    assert client.theory("a") == {"form": "conditional"}
    assert client.diagnosis("a") == client.diagnosis("a", "sagemaker") == {"verdict": "healthy"}
    assert client.predict("improved") == client.predict({"model": "baseline"}) == {"form": "a_priori"}

    assert [(request.query, request.json) for request in service.requests] == [
        ({}, None),
        ({}, None),
        ({"rules": ["sagemaker"]}, None),
        ({}, {"model": "improved"}),
        ({}, {"model": "baseline"}),
    ]


def test_a_list_continues_from_page_to_page_with_the_same_query(service: CannedService, client: Client) -> None:
    service.answer(
        "GET /v1/experiments",
        {"experiments": [{"id": "c"}, {"id": "b"}], "next_cursor": "x"},
        {"experiments": [{"id": "a"}], "next_cursor": None},
    )

    listed = list(client.list(status=None, tag="deep", limit=2))

    assert [experiment["id"] for experiment in listed] == ["c", "b", "a"]
    assert [request.query for request in service.requests] == [
        {"tag": ["deep"], "limit": ["2"]},
        {"tag": ["deep"], "limit": ["2"], "cursor": ["x"]},
    ]


def test_watching_yields_each_state_and_stops_when_the_experiment_has_ended(
    service: CannedService, client: Client
) -> None:
    states = [{"status": status} for status in ("queued", "running", "cancelled")]
    service.answer("GET /v1/experiments/a", *states)

    assert list(client.watch("a")) == states
    assert client.wait("a") == {"status": "cancelled"}


def test_parts_of_an_experiment_have_their_own_paths(service: CannedService, client: Client) -> None:
    for target in (
        "GET /v1/experiments/a/gradients",
        "GET /v1/experiments/a/metrics",
        "POST /v1/experiments/a/cancel",
    ):
        service.answer(target, {"from": target})
    service.answer("DELETE /v1/experiments/a", "", status=204)

    assert client.gradients("a", role="all", start=0, max_points=9)["from"].endswith("gradients")
    assert client.metrics("a")["from"].endswith("metrics")
    assert client.cancel("a")["from"].endswith("cancel")
    client.delete("a")
    assert service.requests[0].query == {"role": ["all"], "start": ["0"], "max_points": ["9"]}


def test_a_model_is_downloaded_as_bytes(service: CannedService, client: Client) -> None:
    service.answer("GET /v1/experiments/a/model", "PK", media_type="application/octet-stream")

    assert client.model("a") == b"PK"


@pytest.mark.parametrize(
    ("suffix", "media_type"),
    [(".csv", "text/csv"), (".NPZ", "application/zip"), (".parquet", "application/vnd.apache.parquet")],
)
def test_a_data_set_is_uploaded_with_the_media_type_of_its_suffix(
    service: CannedService, client: Client, tmp_path: Path, suffix: str, media_type: str
) -> None:
    service.answer("POST /v1/datasets", {"id": "a"}, status=201)
    file = tmp_path / f"data{suffix}"
    file.write_bytes(b"a,b\n")

    assert client.upload(file, name="n", label="b") == {"id": "a"}

    (request,) = service.requests
    assert (request.query, request.headers["content-type"]) == ({"name": ["n"], "label": ["b"]}, media_type)
    assert request.body == b"a,b\n"


def test_a_file_with_another_suffix_is_not_uploaded(service: CannedService, client: Client, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"data.txt.*\.csv, \.npz, \.parquet"):
        client.upload(tmp_path / "data.txt")
    with pytest.raises(FileNotFoundError):
        client.upload(tmp_path / "missing.csv")

    assert service.requests == []


def test_data_sets_are_listed_read_and_deleted(service: CannedService, client: Client) -> None:
    service.answer("GET /v1/datasets", {"datasets": [{"id": "d"}], "next_cursor": None})
    service.answer("GET /v1/datasets/d", {"id": "d", "rows": 40})
    service.answer("DELETE /v1/datasets/d", "", status=204)

    assert list(client.datasets(limit=9)) == [{"id": "d"}]
    assert client.dataset("d")["rows"] == 40
    client.delete_dataset("d")
    assert service.requests[0].query == {"limit": ["9"]}


def test_a_study_has_its_own_paths(service: CannedService, client: Client) -> None:
    body = {"base": {"model": "baseline"}, "axes": {"training.seed": [0]}}
    service.answer("POST /v1/studies", {"id": "a"}, status=202)
    service.answer("GET /v1/studies/a", {"id": "a", "table": []})
    service.answer("POST /v1/studies/a/cancel", {"id": "a"}, status=202)
    service.answer("DELETE /v1/studies/a", "", status=204)

    assert client.submit_study(body) == {"id": "a"}
    assert client.study("a", steps="0,-1") == {"id": "a", "table": []}
    assert client.cancel_study("a") == {"id": "a"}
    client.delete_study("a")
    posted, read = service.requests[:2]
    assert (posted.target, posted.query, posted.json) == ("POST /v1/studies", {}, body)
    assert (read.target, read.query, read.json) == ("GET /v1/studies/a", {"steps": ["0,-1"]}, None)


def test_the_table_of_a_study_is_available_as_csv(service: CannedService, client: Client) -> None:
    service.answer("GET /v1/studies/a", "replicates,missing\n1,0\n", media_type="text/csv")

    assert client.study_csv("a", steps="0") == "replicates,missing\n1,0\n"
    assert service.requests[0].query == {"format": ["csv"], "steps": ["0"]}


def test_studies_and_the_experiments_of_a_study_are_listed_page_by_page(service: CannedService, client: Client) -> None:
    service.answer(
        "GET /v1/studies",
        {"studies": [{"id": "b"}], "next_cursor": "x"},
        {"studies": [{"id": "a"}], "next_cursor": None},
    )
    service.answer("GET /v1/experiments", {"experiments": [{"id": "c"}], "next_cursor": None})

    assert [study["id"] for study in client.studies(limit=1)] == ["b", "a"]
    assert list(client.list(study="a", status="failed")) == [{"id": "c"}]
    assert [request.query for request in service.requests] == [
        {"limit": ["1"]},
        {"limit": ["1"], "cursor": ["x"]},
        {"study": ["a"], "status": ["failed"]},
    ]


def test_watching_a_study_stops_when_it_has_ended(service: CannedService, client: Client) -> None:
    states = [{"status": status} for status in ("running", "failed")]
    service.answer("GET /v1/studies/a", *states)

    assert list(client.watch_study("a")) == states


def test_events_continue_after_the_last_one_where_the_stream_ends_early(service: CannedService, client: Client) -> None:
    progress, end = {"step": 1}, {"status": "succeeded"}
    service.answer(
        "GET /v1/experiments/a/events",
        f": comment\nid: 7\nevent: progress\ndata: {json.dumps(progress)}\n\n",
        f"id: 8\nevent: status\ndata: {json.dumps(end)}\n\n",
        media_type="text/event-stream",
    )

    assert list(client.events("a")) == [("progress", progress), ("status", end)]
    assert [request.headers.get("last-event-id") for request in service.requests] == [None, "7"]


def test_events_of_a_missing_experiment_raise_an_error(client: Client) -> None:
    with pytest.raises(ApiError, match="404"):
        next(client.events("missing"))


def test_an_id_is_one_segment_of_the_path_whatever_it_contains(service: CannedService, client: Client) -> None:
    with pytest.raises(ApiError):
        client.get("a/metrics?x=1")

    assert service.requests[0].target == "GET /v1/experiments/a%2Fmetrics%3Fx%3D1"


def test_ready_means_that_at_least_one_trainer_is_ready(service: CannedService, client: Client) -> None:
    service.answer("GET /readyz", {"redis": True, "trainers": 0}, {"redis": True, "trainers": 0}, status=503)
    service.answer("GET /readyz", {"redis": True, "trainers": 2})

    assert (client.ready(), client.trainers()) == (False, 0)
    assert (client.ready(), client.trainers()) == (True, 2)


@pytest.mark.parametrize("body", ["ok", {"status": "up"}, [], {"trainers": "some"}])
def test_another_server_with_a_readiness_check_is_not_gradflow(
    service: CannedService, client: Client, body: Any
) -> None:
    service.answer("GET /readyz", body)

    assert (client.ready(), client.trainers()) == (False, None)


@pytest.mark.parametrize(
    ("given", "variable", "sent"), [("given", "set", "given"), (None, " set\n", "set"), (None, "", None)]
)
def test_the_api_key_is_the_argument_or_the_variable(
    service: CannedService, monkeypatch: pytest.MonkeyPatch, given: str | None, variable: str, sent: str | None
) -> None:
    monkeypatch.setenv("GRADFLOW_API_KEY", variable)
    service.answer("GET /v1/experiments/a", {"id": "a"})

    with Client(service.url, given) as client:
        client.get("a")

    assert service.requests[0].headers.get("authorization") == (sent and f"Bearer {sent}")


def test_a_closed_client_sends_nothing(service: CannedService) -> None:
    client = Client(service.url)
    client.close()

    with pytest.raises(RuntimeError):
        client.get("a")
    assert service.requests == []


PUBLIC: list[Callable[..., Any]] = [
    member for name, member in vars(Client).items() if callable(member) and not name.startswith("_")
]


@pytest.mark.parametrize("method", PUBLIC, ids=lambda method: method.__name__)
def test_every_public_method_documents_its_arguments_and_result(method: Callable[..., Any]) -> None:
    text = method.__doc__ or ""
    arguments = [name for name in method.__annotations__ if name != "return"]

    assert all(f"{name}: " in text for name in arguments)
    assert ("Returns:" in text or "Yields:" in text) == (method.__annotations__["return"] is not None)
    assert not arguments or "Raises:" in text


def test_the_client_sends_every_request_that_the_api_documents(
    service: CannedService, client: Client, tmp_path: Path
) -> None:
    file = tmp_path / "data.csv"
    file.touch()
    arguments = {"spec": {}, "study": {}, "file": file}

    for method in set(PUBLIC) - {Client.close}:
        required = [p.name for p in inspect.signature(method).parameters.values() if p.default is p.empty][1:]
        with contextlib.suppress(ApiError):
            result = method(client, *(arguments.get(name, f"{{{name}}}") for name in required))
            if isinstance(result, Iterator):
                next(result)

    documented = set(re.findall(r"`((?:GET|POST|DELETE) /v1/[\w/{}]+)`", API_PAGE.read_text()))
    sent = {unquote(request.target) for request in service.requests}
    assert documented == sent - {"GET /readyz"}
    assert len(documented) > 15
