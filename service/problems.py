"""Every error that leaves the service is an RFC 9457 problem; here, and only here, errors become status codes."""

import logging
import re
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

import fastapi_problem_details
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi_problem_details import ProblemResponse

from service.contract.errors import (
    BadCursor,
    Conflict,
    GradflowError,
    InvalidSpec,
    KeyReused,
    LimitExceeded,
    NotFound,
    StoreUnavailable,
)

STATUS_OF: dict[type[GradflowError], HTTPStatus] = {
    BadCursor: HTTPStatus.BAD_REQUEST,
    NotFound: HTTPStatus.NOT_FOUND,
    Conflict: HTTPStatus.CONFLICT,
    InvalidSpec: HTTPStatus.UNPROCESSABLE_ENTITY,
    KeyReused: HTTPStatus.UNPROCESSABLE_ENTITY,
    StoreUnavailable: HTTPStatus.SERVICE_UNAVAILABLE,
}

logger = logging.getLogger(__name__)

# What a check of several fields together begins with: the one at fault, below the place that is checked.
FIELD_BELOW = re.compile(r"([a-z_]+(?:\.[a-z_]+)*): (.+)", re.DOTALL)

# Where a spec may be one of several kinds, pydantic names the kind as if it were a field.
UNIONS = {
    ("body", "model"),
    ("body", "data"),
    ("body", "training", "optimizer"),
    ("body", "training", "learning_rate_schedule"),
    *(("body", "model", "mlp", f"{part}_initializer") for part in ("kernel", "bias", "output_kernel")),
    ("body", "model", "mlp", "residual_scale"),
}


def install(app: FastAPI, retry_after_s: int) -> None:
    """Let the application answer every error as a problem."""
    fastapi_problem_details.init_app(app)

    @app.exception_handler(Exception)
    def _unforeseen(_: Request, error: Exception) -> ProblemResponse:
        logger.error("unforeseen", exc_info=error)  # and only here: the client learns nothing of the inside
        return ProblemResponse(status=HTTPStatus.INTERNAL_SERVER_ERROR)

    @app.exception_handler(RequestValidationError)
    def _invalid_request(_: Request, error: RequestValidationError) -> ProblemResponse:
        # The input itself is left out: it may hold NaN, which JSON cannot say, or be long.
        return invalid([finding(e) for e in error.errors()])

    @app.exception_handler(GradflowError)
    def _ours(_: Request, error: GradflowError) -> ProblemResponse:
        if isinstance(error, InvalidSpec):
            found: dict[str, Any] = {"location": ".".join((error.part, *error.location)), "message": error.message}
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


def finding(error: Mapping[str, Any]) -> dict[str, Any]:
    """A location and a message of one of pydantic's errors."""
    if error["type"] == "json_invalid":
        return {"location": "body", "message": f"not JSON: {error['ctx']['error']} at character {error['loc'][1]}"}
    location, message = _path(error["loc"]), error["msg"].removeprefix("Value error, ")
    if error["type"] == "value_error" and (below := FIELD_BELOW.fullmatch(message)):
        return {"location": f"{location}.{below[1]}", "message": below[2]}
    return {"location": location, "message": message}


def _path(location: tuple[int | str, ...]) -> str:
    """`body.model.depth` for ("body", "model", "baseline", "depth")."""
    return ".".join(str(part) for i, part in enumerate(location) if location[:i] not in UNIONS)
