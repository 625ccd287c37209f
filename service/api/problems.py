"""Errors become problems (RFC 9457) here and nowhere else: their status, their headers and the wording of a 422."""

import logging
import math
from collections.abc import Sequence
from dataclasses import asdict
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.routing import Match

from service.api.http.problem import ProblemResponse
from service.contract.errors import (
    BadCursor,
    Conflict,
    CrossOriginRequest,
    DamagedRecord,
    GradflowError,
    InvalidSpec,
    NotAuthenticated,
    NotFound,
    RateExceeded,
    StoreUnavailable,
)
from service.contract.faults import Fault, fault_of

STATUS_OF: dict[type[GradflowError], HTTPStatus] = {
    BadCursor: HTTPStatus.BAD_REQUEST,
    NotAuthenticated: HTTPStatus.UNAUTHORIZED,
    CrossOriginRequest: HTTPStatus.FORBIDDEN,
    NotFound: HTTPStatus.NOT_FOUND,
    Conflict: HTTPStatus.CONFLICT,
    DamagedRecord: HTTPStatus.CONFLICT,
    InvalidSpec: HTTPStatus.UNPROCESSABLE_ENTITY,
    RateExceeded: HTTPStatus.TOO_MANY_REQUESTS,
    StoreUnavailable: HTTPStatus.SERVICE_UNAVAILABLE,
}

MAX_ERRORS = 50  # per answer: every number of a list of many thousand may be wrong

logger = logging.getLogger(__name__)


def install(app: FastAPI, retry_after_s: int) -> None:
    """Make the application answer every error with a problem."""

    @app.exception_handler(Exception)
    def _unexpected(_: Request, error: Exception) -> ProblemResponse:
        logger.error("unexpected error", exc_info=error)  # the client learns nothing about the inside
        return ProblemResponse(HTTPStatus.INTERNAL_SERVER_ERROR)

    @app.exception_handler(HTTPException)
    def _http_error(_: Request, error: HTTPException) -> ProblemResponse:
        phrase = HTTPStatus(error.status_code).phrase  # Starlette's default detail, which the title repeats
        detail = "" if error.detail == phrase else error.detail
        return ProblemResponse(error.status_code, detail, error.headers)

    @app.exception_handler(RequestValidationError)
    def _invalid_request(_: Request, error: RequestValidationError) -> ProblemResponse:
        # The refused input is left out: it may be long.
        return invalid([fault_of(e) for e in error.errors()])

    @app.exception_handler(HTTPStatus.METHOD_NOT_ALLOWED)
    def _method_not_allowed(request: Request, _: Exception) -> ProblemResponse:
        return ProblemResponse(HTTPStatus.METHOD_NOT_ALLOWED, headers={"Allow": ", ".join(_methods(request))})

    @app.exception_handler(ClientDisconnect)
    def _disconnected(_: Request, __: ClientDisconnect) -> ProblemResponse:
        return ProblemResponse(HTTPStatus.BAD_REQUEST, "the body ended before its declared length")

    @app.exception_handler(GradflowError)
    def _gradflow_error(_: Request, error: GradflowError) -> ProblemResponse:
        return problem_of(error, retry_after_s)


def problem_of(error: GradflowError, retry_after_s: int) -> ProblemResponse:
    """The answer to an error.

    Raises:
        GradflowError: the error itself, if it is of a kind that no request can cause.
    """
    if isinstance(error, InvalidSpec):
        return invalid([error.fault])
    status = next((status for kind, status in STATUS_OF.items() if isinstance(error, kind)), None)
    if status is None:
        raise error
    headers = {}
    if isinstance(error, StoreUnavailable):
        headers["Retry-After"] = str(retry_after_s)
    elif isinstance(error, RateExceeded):
        headers["Retry-After"] = str(math.ceil(error.wait_s))
    elif isinstance(error, NotAuthenticated):
        headers["WWW-Authenticate"] = "Bearer"
    return ProblemResponse(status, str(error), headers)


def invalid(faults: Sequence[Fault]) -> ProblemResponse:
    """A 422 with one entry per field that is wrong, up to MAX_ERRORS."""
    shown = faults[:MAX_ERRORS]
    detail = "; ".join(f"{fault.location}: {fault.message}" for fault in shown)
    if len(faults) > MAX_ERRORS:
        detail += f"; and {len(faults) - MAX_ERRORS:,} more"
    return ProblemResponse(HTTPStatus.UNPROCESSABLE_ENTITY, detail, errors=[_entry(fault) for fault in shown])


def _entry(fault: Fault) -> dict[str, Any]:
    entry: dict[str, Any] = {"location": fault.location, "message": fault.message, "code": fault.code}
    return entry if fault.excess is None else entry | asdict(fault.excess)


def _methods(request: Request) -> list[str]:
    """The methods of a path; each of them may belong to another route."""
    return [
        method
        for method in ("GET", "POST", "PUT", "PATCH", "DELETE")
        if any(route.matches({**request.scope, "method": method})[0] is Match.FULL for route in request.app.routes)
    ]
