"""Every error that leaves the service is an RFC 9457 problem; here, and only here, errors become status codes."""

import logging
import math
from http import HTTPStatus
from typing import Any

import fastapi_problem_details
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi_problem_details import ProblemResponse
from starlette.requests import ClientDisconnect
from starlette.routing import Match

from service.contract.errors import (
    BadCursor,
    Conflict,
    DamagedRecord,
    ForeignPage,
    GradflowError,
    InvalidSpec,
    LimitExceeded,
    NotAuthenticated,
    NotFound,
    RateExceeded,
    StoreUnavailable,
)
from service.contract.faults import finding

STATUS_OF: dict[type[GradflowError], HTTPStatus] = {
    BadCursor: HTTPStatus.BAD_REQUEST,
    NotAuthenticated: HTTPStatus.UNAUTHORIZED,
    ForeignPage: HTTPStatus.FORBIDDEN,
    NotFound: HTTPStatus.NOT_FOUND,
    Conflict: HTTPStatus.CONFLICT,
    DamagedRecord: HTTPStatus.CONFLICT,
    InvalidSpec: HTTPStatus.UNPROCESSABLE_ENTITY,
    RateExceeded: HTTPStatus.TOO_MANY_REQUESTS,
    StoreUnavailable: HTTPStatus.SERVICE_UNAVAILABLE,
}

MOST_ERRORS = 50  # that are told of one request: a list of many thousand numbers may all be wrong
PROBLEM = ProblemResponse.media_type

logger = logging.getLogger(__name__)


def install(app: FastAPI, retry_after_s: int) -> None:
    """Let the application answer every error as a problem."""
    fastapi_problem_details.init_app(app)

    @app.exception_handler(Exception)
    def _unforeseen(_: Request, error: Exception) -> ProblemResponse:
        logger.error("unforeseen", exc_info=error)  # and only here: the client learns nothing of the inside
        return ProblemResponse(status=HTTPStatus.INTERNAL_SERVER_ERROR)

    @app.exception_handler(RequestValidationError)
    def _invalid_request(_: Request, error: RequestValidationError) -> ProblemResponse:
        # The input itself is left out: it may be long.
        return invalid([finding(e) for e in error.errors()])

    @app.exception_handler(HTTPStatus.METHOD_NOT_ALLOWED)
    def _no_such_method(request: Request, _: Exception) -> ProblemResponse:
        return ProblemResponse(status=HTTPStatus.METHOD_NOT_ALLOWED, headers={"Allow": ", ".join(_methods(request))})

    @app.exception_handler(ClientDisconnect)
    def _nobody_there(_: Request, __: ClientDisconnect) -> ProblemResponse:
        return ProblemResponse(status=HTTPStatus.BAD_REQUEST, detail="the body ended before its declared length")

    @app.exception_handler(GradflowError)
    def _ours(_: Request, error: GradflowError) -> ProblemResponse:
        return problem_of(error, retry_after_s)


def problem_of(error: GradflowError, retry_after_s: int) -> ProblemResponse:
    """What is answered to an error of ours; raises it again where it is none that a client may meet."""
    if isinstance(error, InvalidSpec):
        location = ".".join((error.part, *error.location))
        found: dict[str, Any] = {"location": location, "message": error.message, "code": error.code}
        if isinstance(error, LimitExceeded):
            found |= {"limit": error.limit, "value": error.value, "maximum": error.maximum}
        return invalid([found])
    status = next((s for kind, s in STATUS_OF.items() if isinstance(error, kind)), None)
    if status is None:
        raise error
    headers = {}
    if isinstance(error, StoreUnavailable):
        headers["Retry-After"] = str(retry_after_s)
    elif isinstance(error, RateExceeded):
        headers["Retry-After"] = str(math.ceil(error.wait_s))
    elif isinstance(error, NotAuthenticated):
        headers["WWW-Authenticate"] = "Bearer"
    return ProblemResponse(status=status, detail=str(error), headers=headers)


def _methods(request: Request) -> list[str]:
    """Of this path: a route knows its own alone."""
    return [
        method
        for method in ("GET", "POST", "PUT", "PATCH", "DELETE")
        if any(route.matches({**request.scope, "method": method})[0] is Match.FULL for route in request.app.routes)
    ]


def invalid(errors: list[dict[str, Any]]) -> ProblemResponse:
    """422 with one entry a field at fault, up to MOST_ERRORS."""
    shown = errors[:MOST_ERRORS]
    detail = "; ".join(f"{e['location']}: {e['message']}" for e in shown)
    if len(errors) > MOST_ERRORS:
        detail += f"; and {len(errors) - MOST_ERRORS:,} more"
    return ProblemResponse(status=HTTPStatus.UNPROCESSABLE_ENTITY, detail=detail, errors=shown)
