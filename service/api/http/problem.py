"""A problem (RFC 9457): the body of every error, as schemas of the OpenAPI document and as a response."""

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, Literal

from pydantic import BaseModel, Field
from pydantic_core import to_json
from starlette.responses import Response

PROBLEM_JSON = "application/problem+json"


class Problem(BaseModel):
    """An error (RFC 9457)."""

    type: Literal["about:blank"]
    title: str = Field(description="The name of the status.")
    status: int
    detail: str = Field("", description="What is wrong with this request.")


class Fault(BaseModel):
    """One field that is wrong."""

    location: str = Field(description="Dotted path, beginning with `body`, `query`, `path` or `header`.")
    message: str
    code: Literal["json", "schema", "rule", "limit", "file"] = Field(
        description="`json`: not JSON, or JSON that parsers read differently (RFC 7493). `schema`: not what this "
        "document allows. `rule`: fields that contradict each other or what they refer to. `limit`: more than is "
        "allowed. `file`: an upload that is not a data set."
    )
    limit: str | None = Field(None, description="With code `limit`: the name of the limit.")
    value: int | None = Field(None, description="With code `limit`: the requested value.")
    maximum: int | None = Field(None, description="With code `limit`: the largest value that is allowed.")


class InvalidRequest(Problem):
    """A request with fields that are wrong."""

    errors: list[Fault] = Field(min_length=1)


class NotReady(Problem):
    """The service cannot train now."""

    redis: bool = Field(description="Whether Redis answers.")
    trainers: int = Field(ge=0, description="Training processes that have started.")


class ProblemResponse(Response):
    """A problem as a response; `members` are further fields of its body."""

    media_type = PROBLEM_JSON

    def __init__(self, status: int, detail: str = "", headers: Mapping[str, str] | None = None, **members: Any) -> None:
        known = HTTPStatus(status)
        body = {"type": "about:blank", "title": known.phrase, "status": status, "detail": detail or known.description}
        super().__init__(to_json(body | members), status, headers)
