"""Every error that leaves the service is an RFC 9457 problem; here, and only here, errors become status codes."""

import logging
from http import HTTPStatus
from typing import Any

import fastapi_problem_details
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi_problem_details import ProblemResponse
from starlette.exceptions import HTTPException

from service.contract.errors import (
    BadCursor,
    Conflict,
    GradflowError,
    InvalidSpec,
    LimitExceeded,
    NotFound,
    StoreUnavailable,
)

STATUS_OF: dict[type[GradflowError], HTTPStatus] = {
    BadCursor: HTTPStatus.BAD_REQUEST,
    NotFound: HTTPStatus.NOT_FOUND,
    Conflict: HTTPStatus.CONFLICT,
    InvalidSpec: HTTPStatus.UNPROCESSABLE_ENTITY,
    StoreUnavailable: HTTPStatus.SERVICE_UNAVAILABLE,
}

logger = logging.getLogger(__name__)


class UnsupportedMediaType(HTTPException):
    """A body of another content type than the route reads."""

    def __init__(self, expected: str, got: str | None) -> None:
        super().__init__(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, f"send {expected}, not {got or 'a body without a type'}")


def install(app: FastAPI, retry_after_s: int) -> None:
    """Let the application answer every error as a problem."""
    fastapi_problem_details.init_app(app)

    @app.exception_handler(RequestValidationError)
    def _invalid_request(_: Request, error: RequestValidationError) -> ProblemResponse:
        # The input itself is left out: it may hold NaN, which JSON cannot say, or be long.
        return invalid([{"location": _path(e["loc"]), "message": e["msg"]} for e in error.errors()])

    @app.exception_handler(GradflowError)
    def _ours(_: Request, error: GradflowError) -> ProblemResponse:
        if isinstance(error, InvalidSpec):
            found: dict[str, Any] = {"location": _path(("body", *error.location)), "message": error.message}
            if isinstance(error, LimitExceeded):
                found |= {"limit": error.limit, "value": error.value, "maximum": error.maximum}
            return invalid([found])
        status = next((s for kind, s in STATUS_OF.items() if isinstance(error, kind)), None)
        if status is None:
            raise error
        headers = {"Retry-After": str(retry_after_s)} if status == HTTPStatus.SERVICE_UNAVAILABLE else None
        return ProblemResponse(status=status, detail=str(error), headers=headers)


def invalid(errors: list[dict[str, Any]]) -> ProblemResponse:
    """422 with one entry a field at fault."""
    detail = "; ".join(f"{e['location']}: {e['message']}" for e in errors)
    return ProblemResponse(status=HTTPStatus.UNPROCESSABLE_ENTITY, detail=detail, errors=errors)


def _path(location: tuple[int | str, ...]) -> str:
    """`body.model.depth` for ("body", "model", "baseline", "depth"): the union's tag is no field of the body."""
    tags = {"baseline", "improved", "random", "adam", "sgd", "breast_cancer", "digits", "wine", "iris"}
    return ".".join(str(part) for i, part in enumerate(location) if i == 0 or part not in tags)
