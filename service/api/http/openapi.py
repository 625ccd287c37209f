"""The OpenAPI document: problems, headers, links and API keys. No other module changes the document."""

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI
from fastapi.routing import APIRoute
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from service.api.http.problem import PROBLEM_JSON, InvalidRequest, NotReady, Problem

Responses = dict[int | str, dict[str, Any]]
PROBLEMS: tuple[type[BaseModel], ...] = (Problem, InvalidRequest, NotReady)
KEY_SCHEME = "apiKey"

REASONS: Mapping[int, str] = {
    400: "The cursor comes from no earlier answer, or the form cannot be read.",
    401: "API keys are configured, and the request has none or an unknown one.",
    403: "No API key is configured, and a browser sent the request for another site or under another host name.",
    404: "The resource, or this part of it, does not exist; `detail` names it.",
    408: "The body is incomplete, and no byte of it has come for some time.",
    409: "The current state does not allow this; `detail` says why.",
    413: "The body is too large.",
    415: "The content type or the content encoding is not supported.",
    422: "The request contradicts this document, itself or a limit; `errors` names the fields.",
    429: "Too many requests with this API key.",
    503: "Redis does not answer or is full, or too many requests of this kind are being served; try again later.",
}
RETRY_AFTER = {
    "Retry-After": {
        "description": "Seconds to wait before the next try.",
        "required": True,
        "schema": {"type": "integer", "minimum": 0},
    }
}
WWW_AUTHENTICATE = {
    "WWW-Authenticate": {"description": "The scheme, `Bearer`.", "required": True, "schema": {"type": "string"}}
}
PROBLEM_HEADERS: Mapping[int, dict[str, Any]] = {401: WWW_AUTHENTICATE, 429: RETRY_AFTER, 503: RETRY_AFTER}
KEY_PROBLEMS = (401, 403, 429)  # of every path below /v1
JSON_BODY_PROBLEMS = (408, 413, 415, 422)

ETAG = {"ETag": {"description": "A strong entity tag.", "required": True, "schema": {"type": "string"}}}
ETAG_OF_JSON = {"ETag": ETAG["ETag"] | {"required": False}}  # other formats are streamed and have no entity tag
NOT_MODIFIED: Responses = {304: {"description": "The client has the current version.", "headers": ETAG}}
CONDITIONAL = {
    "parameters": [
        {
            "name": "If-None-Match",
            "in": "header",
            "description": "The ETag of an earlier answer; the answer is 304 if nothing has changed.",
            "schema": {"type": "string"},
        }
    ]
}


class DocumentedApi(FastAPI):
    """An application whose document has the schemas of problems and says which paths may need an API key."""

    def __init__(self, **options: Any) -> None:
        super().__init__(generate_unique_id_function=operation_id, **options)
        self.router.responses["default"] = {"description": "Any other problem.", "content": _content(Problem)}

    def openapi(self) -> dict[str, Any]:
        """Return the document; it is made once."""
        if self.openapi_schema is not None:
            return self.openapi_schema
        document = super().openapi()
        _, schemas = models_json_schema(
            [(body, "serialization") for body in PROBLEMS], ref_template="#/components/schemas/{model}"
        )
        components = document.setdefault("components", {})
        components["schemas"] = components.get("schemas", {}) | schemas["$defs"]
        components["securitySchemes"] = {KEY_SCHEME: {"type": "http", "scheme": "bearer"}}
        for path, operations in document["paths"].items():
            for operation in operations.values() if path.startswith("/v1/") else ():
                operation["security"] = [{}, {KEY_SCHEME: []}]  # no key is needed while none is configured
                operation["responses"] |= {str(status): problem(status) for status in KEY_PROBLEMS}
        return document


def problems(*statuses: int) -> Responses:
    """Problems with these statuses, and 503 in case Redis does not answer; with 404 also 409, for damaged records."""
    damaged = (409,) if 404 in statuses and 409 not in statuses else ()
    return {status: problem(status) for status in (*statuses, *damaged, 503)}


def problem(status: int, description: str = "", body: type[Problem] | None = None) -> dict[str, Any]:
    """The description of a problem; by default with the reason and the body that the status has."""
    body = body or (InvalidRequest if status == HTTPStatus.UNPROCESSABLE_ENTITY else Problem)
    described: dict[str, Any] = {"description": description or REASONS[status], "content": _content(body)}
    if status in PROBLEM_HEADERS:
        described["headers"] = PROBLEM_HEADERS[status]
    return described


def _content(body: type[Problem]) -> dict[str, Any]:
    return {PROBLEM_JSON: {"schema": {"$ref": f"#/components/schemas/{body.__name__}"}}}


def located(resource: str) -> dict[str, Any]:
    """The header with the path of a new resource."""
    return {"Location": {"description": f"The path of the {resource}.", "required": True, "schema": {"type": "string"}}}


def links(parameter: str, *operations: str) -> dict[str, Any]:
    """Links to the operations that take the id in the answer as this parameter."""
    return {
        operation.replace(".", "_"): {"operationId": operation, "parameters": {parameter: "$response.body#/id"}}
        for operation in operations
    }


def files(*media_types: str) -> dict[str, Any]:
    """The content of an answer in other formats than JSON."""
    text, binary = {"type": "string"}, {"type": "string", "format": "binary"}
    return {kind: {"schema": text if kind.startswith("text/") else binary} for kind in media_types}


def operation_id(route: APIRoute) -> str:
    """Tag and name of the route, as in `experiments.submit`."""
    return f"{str(route.tags[0]).replace(' ', '_')}.{route.name}"
