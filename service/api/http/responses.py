"""What the OpenAPI document says of answers beside their bodies: problems, headers, other formats, links."""

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, Literal

from fastapi import FastAPI
from fastapi.routing import APIRoute
from pydantic import BaseModel, Field
from pydantic.json_schema import models_json_schema

Responses = dict[int | str, dict[str, Any]]
PROBLEM_JSON = "application/problem+json"


class Problem(BaseModel):
    """Why there is no other answer (RFC 9457)."""

    type: Literal["about:blank"]
    title: str = Field(description="The status in words.")
    status: int
    detail: str = Field("", description="What is wrong with this request.")


class Fault(BaseModel):
    """One field at fault."""

    location: str = Field(description="Dotted path, beginning with `body`, `query` or `path`.")
    message: str
    code: Literal["json", "schema", "rule", "limit", "file"] = Field(
        description="`json`: no JSON, or not the same to every reader (RFC 7493). `schema`: against this document. "
        "`rule`: parts that contradict each other or what they refer to. `limit`: more than is allowed. "
        "`file`: an upload that is no data set."
    )
    limit: str | None = Field(None, description="Of code `limit`: which one,")
    value: int | None = Field(None, description="what was asked for,")
    maximum: int | None = Field(None, description="and the most that is allowed.")


class InvalidRequest(Problem):
    """A request that cannot be taken, field by field."""

    errors: list[Fault] = Field(min_length=1)


REASONS: Mapping[int, str] = {
    400: "A cursor that no answer contained, or a form that cannot be read.",
    404: "There is none of this id, or it has no such part; `detail` says which.",
    408: "The body stopped coming.",
    409: "What it stands at forbids this; `detail` says why.",
    413: "The body is too large.",
    415: "The body is declared as another type.",
    422: "The request contradicts this document, itself or a limit; `errors` name the fields.",
    503: "Redis is away, full or slow, or there are too many at once; send it again.",
}
RETRY_AFTER = {"description": "Seconds to wait.", "required": True, "schema": {"type": "integer", "minimum": 0}}
PROBLEM_HEADERS: Mapping[int, dict[str, Any]] = {503: {"Retry-After": RETRY_AFTER}}


def problems(*statuses: int) -> Responses:
    """Problems of these statuses; of 503, for every route asks Redis; with 404 of 409, for a record may be damaged."""
    of_records = (409,) if 404 in statuses and 409 not in statuses else ()
    return {status: _problem(status) for status in (*statuses, *of_records, 503)}


def _problem(status: int) -> dict[str, Any]:
    body = InvalidRequest if status == HTTPStatus.UNPROCESSABLE_ENTITY else Problem
    content = {PROBLEM_JSON: {"schema": {"$ref": f"#/components/schemas/{body.__name__}"}}}
    described: dict[str, Any] = {"description": REASONS[status], "content": content}
    if status in PROBLEM_HEADERS:
        described["headers"] = PROBLEM_HEADERS[status]
    return described


JSON_BODY_PROBLEMS = (408, 413, 415, 422)

ETAG = {"ETag": {"description": "Strong.", "required": True, "schema": {"type": "string"}}}
ETAG_OF_JSON = {"ETag": ETAG["ETag"] | {"required": False}}  # other formats are sent as they are read
NOT_MODIFIED: Responses = {304: {"description": "It is as you have it.", "headers": ETAG}}
CONDITIONAL = {
    "parameters": [
        {
            "name": "If-None-Match",
            "in": "header",
            "description": "The ETag of an earlier answer: 304 where nothing has changed.",
            "schema": {"type": "string"},
        }
    ]
}


def located(resource: str) -> dict[str, Any]:
    """The header that says where something new is."""
    return {"Location": {"description": f"Of the {resource}.", "required": True, "schema": {"type": "string"}}}


def links(parameter: str, *operations: str) -> dict[str, Any]:
    """What can be done with the id in an answer."""
    return {
        operation.replace(".", "_"): {"operationId": operation, "parameters": {parameter: "$response.body#/id"}}
        for operation in operations
    }


def files(*media_types: str) -> dict[str, Any]:
    """The content of an answer in other formats than JSON."""
    text, binary = {"type": "string"}, {"type": "string", "format": "binary"}
    return {kind: {"schema": text if kind.startswith("text/") else binary} for kind in media_types}


def operation_id(route: APIRoute) -> str:
    """As in `experiments.submit`."""
    return f"{str(route.tags[0]).replace(' ', '_')}.{route.name}"


def install(app: FastAPI) -> None:
    """Let the document hold the schemas of problems, to which all answers refer."""
    generate = app.openapi

    def openapi() -> dict[str, Any]:
        document = generate()
        _, definitions = models_json_schema(
            [(Problem, "serialization"), (InvalidRequest, "serialization")],
            ref_template="#/components/schemas/{model}",
        )
        document["components"]["schemas"] |= definitions["$defs"]
        return document

    app.router.responses["default"] = _problem_of_any_status()
    app.openapi = openapi  # type: ignore[method-assign]


def _problem_of_any_status() -> dict[str, Any]:
    schema = {"$ref": f"#/components/schemas/{Problem.__name__}"}
    return {"description": "Any other problem.", "content": {PROBLEM_JSON: {"schema": schema}}}
