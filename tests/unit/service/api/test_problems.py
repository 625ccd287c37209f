"""Every error becomes a problem with its status, headers and wording."""

import asyncio
import json
import re
from typing import Any

import httpx2
import pytest
from fastapi import FastAPI, HTTPException
from hypothesis import given
from hypothesis import strategies as st

from service.api import problems
from service.contract.errors import (
    BadCursor,
    BadUpload,
    Conflict,
    GradflowError,
    InvalidSpec,
    LimitExceeded,
    NotFound,
    StaleAttempt,
    StoreFull,
    StoreUnavailable,
)
from service.contract.spec import ExperimentSpec

JSON = {"content-type": "application/json"}
INSIDE = "redis://10.0.0.7 refused: wrong password"


def _answer(app: FastAPI, method: str, path: str, **request: Any) -> httpx2.Response:
    async def ask() -> httpx2.Response:
        transport = httpx2.ASGITransport(app, raise_app_exceptions=False)
        async with httpx2.AsyncClient(transport=transport, base_url="http://gradflow") as http:
            return await http.request(method, path, **request)

    return asyncio.run(ask())


def _app() -> FastAPI:
    app = FastAPI()
    problems.install(app, retry_after_s=7)
    return app


def _raising(error: Exception) -> httpx2.Response:
    app = _app()

    @app.get("/")
    def fail() -> None:
        raise error

    return _answer(app, "GET", "/")


def _problem(answer: httpx2.Response) -> dict[str, Any]:
    assert answer.headers["content-type"] == "application/problem+json"
    body: dict[str, Any] = answer.json()
    assert body["status"] == answer.status_code
    assert body["type"] == "about:blank"
    assert body["title"]
    return body


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (BadCursor("no such page"), 400),
        (NotFound("there is no experiment x"), 404),
        (Conflict("it is running"), 409),
        (StoreUnavailable("Redis does not answer"), 503),
        (StoreFull("Redis is out of memory"), 503),
    ],
)
def test_each_error_has_its_status_and_its_message(error: GradflowError, status: int) -> None:
    answer = _raising(error)

    assert answer.status_code == status
    assert _problem(answer)["detail"] == str(error)
    assert answer.headers.get("retry-after") == ("7" if status == 503 else None)


def test_every_error_has_a_status_except_the_one_that_only_workers_raise() -> None:
    def below(kind: type[GradflowError]) -> set[type[GradflowError]]:
        return {kind}.union(*(below(child) for child in kind.__subclasses__()))

    unanswered = {kind for kind in below(GradflowError) if not issubclass(kind, tuple(problems.STATUS_OF))}

    assert unanswered == {GradflowError, StaleAttempt}


def test_the_problem_of_a_contradictory_spec_names_the_field() -> None:
    answer = _raising(InvalidSpec(("training", "validation_split"), "leaves no row"))

    assert answer.status_code == 422
    body = _problem(answer)
    assert body["detail"] == "body.training.validation_split: leaves no row"
    assert body["errors"] == [
        {"location": "body.training.validation_split", "message": "leaves no row", "code": "rule"}
    ]


@pytest.mark.parametrize(
    ("location", "named"),
    [(("file",), "body.file"), (("label",), "query.label"), (("task",), "query.task")],
)
def test_the_problem_of_a_bad_upload_names_the_file_or_the_query_parameter(
    location: tuple[str, ...], named: str
) -> None:
    body = _problem(_raising(BadUpload("row 3 is empty", location)))

    assert body["status"] == 422
    assert body["errors"] == [{"location": named, "message": "row 3 is empty", "code": "file"}]


def test_the_location_of_a_nested_field_is_complete() -> None:
    body = _problem(_raising(InvalidSpec(("model", "config", "layers"), "none")))

    assert body["errors"][0]["location"] == "body.model.config.layers"


def test_an_exceeded_limit_has_its_name_value_and_maximum() -> None:
    body = _problem(_raising(LimitExceeded(("model", "depth"), "layers", 10**9, 1000)))

    assert body["errors"] == [
        {
            "location": "body.model.depth",
            "message": "layers: 1,000,000,000 asked for, at most 1,000 allowed",
            "code": "limit",
            "limit": "layers",
            "value": 10**9,
            "maximum": 1000,
        }
    ]


@pytest.mark.parametrize("error", [RuntimeError(INSIDE), StaleAttempt(INSIDE)])
def test_an_unexpected_error_is_a_problem_too(error: Exception) -> None:
    answer = _raising(error)

    assert answer.status_code == 500
    assert _problem(answer)["title"] == "Internal Server Error"


def test_an_unexpected_error_reveals_no_internals() -> None:
    assert INSIDE not in _raising(RuntimeError(INSIDE)).text


def test_errors_of_the_framework_are_problems_too() -> None:
    app = _app()

    @app.get("/teapot")
    def teapot() -> None:
        raise HTTPException(418, "short and stout")

    assert _problem(_answer(app, "GET", "/teapot"))["detail"] == "short and stout"
    assert _problem(_answer(app, "GET", "/nix"))["status"] == 404
    refused = _answer(app, "POST", "/teapot")
    assert _problem(refused)["status"] == 405
    assert refused.headers["allow"] == "GET"


INITIALIZER_FIELD = ["model.kernel_initializer.stddev"]
SCHEDULE = ["training.learning_rate_schedule"]
TOO_FEW_RATES = """{"model": "baseline", "training": {"learning_rate_schedule":
    {"name": "PiecewiseConstantDecay", "boundaries": [1], "values": [0.1]}}}"""


def _submitting() -> FastAPI:
    app = _app()

    @app.post("/")
    def submit(spec: ExperimentSpec) -> None:
        raise AssertionError(spec)

    return app


@pytest.mark.parametrize(
    ("body", "locations"),
    [
        ('{"model": {"kind": "baseline", "depth": 0}}', ["model.depth"]),
        ('{"model": {"kind": "baseline", "width": NaN}}', ["model.width"]),
        ('{"model": {"kind": "huge"}}', ["model"]),
        ('{"model": {"kind": "mlp", "residual": "post_activation", "hidden_units": [3, 4]}}', ["model.hidden_units"]),
        ('{"model": {"kind": "mlp", "kernel_initializer": {"name": "normal", "stddev": -1}}}', INITIALIZER_FIELD),
        ('{"model": {"kind": "mlp", "output_kernel_initializer": "nix"}}', ["model.output_kernel_initializer"]),
        ('{"model": {"kind": "mlp", "residual_scale": 0}}', ["model.residual_scale", "model.residual_scale"]),
        ('{"model": {"kind": "keras"}}', ["model.config"]),
        ('{"model": {"kind": "keras", "config": "{"}}', ["model.config"]),
        ('{"model": "baseline", "training": {"learning_rate_schedule": {"name": "nix"}}}', SCHEDULE),
        (
            '{"model": "baseline", "training": {"learning_rate_schedule": {"name": "ExponentialDecay", "x": 1}}}',
            [f"training.learning_rate_schedule.{field}" for field in ("decay_steps", "decay_rate", "x")],
        ),
        (TOO_FEW_RATES, ["training.learning_rate_schedule.values"]),
        ('{"model": "baseline", "recording": {"statistics": ["norm"]}}', ["recording.statistics.0"]),
        ('{"model": "baseline", "data": {"source": "upload", "dataset_id": "nix"}}', ["data.dataset_id"]),
        ('{"model": "baseline", "data": {"source": "iris", "iris": 1}}', ["data.iris"]),
        ('{"model": "baseline", "tags": ["a", ""]}', ["tags.1"]),
        ('{"model": "baseline", "training": {"epochs": 0, "seed": -1}}', ["training.epochs", "training.seed"]),
        (
            '{"model": "baseline", "training": {"optimizer": {"name": "sgd", "beta_1": 1}}}',
            ["training.optimizer.beta_1"],
        ),
    ],
)
def test_a_location_is_the_path_that_the_client_wrote(body: str, locations: list[str]) -> None:
    answer = _answer(_submitting(), "POST", "/", content=body, headers=JSON)

    assert answer.status_code == 422
    problem = _problem(answer)
    assert [error["location"] for error in problem["errors"]] == [f"body.{location}" for location in locations]
    for error in problem["errors"]:
        assert error["message"]
        assert f"{error['location']}: {error['message']}" in problem["detail"]


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ('{"model": {"kind": "baseline", "depth": 0}}', "schema"),
        ('{"model": "deep"}', "schema"),
        ('{"model": "baseline", "extra": 1}', "schema"),
        ('{"model": {"kind": "mlp", "residual": "post_activation", "hidden_units": [3, 4]}}', "rule"),
        ('{"model": {"kind": "keras", "config": {}}}', "rule"),
        (TOO_FEW_RATES, "rule"),
    ],
)
def test_the_code_distinguishes_schema_errors_from_broken_rules(body: str, code: str) -> None:
    problem = _problem(_answer(_submitting(), "POST", "/", content=body, headers=JSON))

    assert [error["code"] for error in problem["errors"]] == [code]


def test_of_many_errors_the_first_are_listed_and_the_others_counted() -> None:
    body = json.dumps({"model": {"kind": "mlp", "hidden_units": [0] * 10_000}})

    answer = _answer(_submitting(), "POST", "/", content=body, headers=JSON)

    problem = _problem(answer)
    assert len(problem["errors"]) == problems.MAX_ERRORS
    assert re.search(r"; and 9,9\d\d more$", problem["detail"])
    assert len(answer.content) < 20_000


no_depths = st.none() | st.floats().filter(lambda number: not number.is_integer()) | st.text(max_size=5)


@given(st.recursive(no_depths, lambda inner: st.lists(inner, max_size=3)))
def test_the_refused_value_is_not_sent_back(value: Any) -> None:
    body = json.dumps({"model": {"kind": "baseline", "depth": value}})  # NaN and Infinity as Python writes them

    answer = _answer(_submitting(), "POST", "/", content=body, headers=JSON)

    assert answer.status_code == 422
    assert [set(error) for error in answer.json()["errors"]] == [{"location", "message", "code"}]
