"""Further checks of every answer; schemathesis loads them, not pytest."""

import json
from typing import Any

import schemathesis

PROBLEM = "application/problem+json"
NO_SCHEMA_CAN_SAY = {"rule", "limit", "file"}


@schemathesis.check
def refused_only_for_what_no_schema_can_say(_: Any, response: Any, case: Any) -> None:
    """A request that the document allows is refused only for a rule, a limit, a file or an unknown cursor."""
    if case.meta is None or not case.meta.generation.mode.is_positive:
        return
    if response.status_code == 422:
        codes = {error["code"] for error in response.json()["errors"]}
        assert codes <= NO_SCHEMA_CAN_SAY, f"the document allows what was refused: {response.text}"
    if response.status_code == 400:
        assert "cursor" in (case.query or {}), f"the document allows what was refused: {response.text}"


@schemathesis.check
def every_status_is_declared_by_itself(_: Any, response: Any, case: Any) -> None:
    """`default` covers only unknown paths, methods that are not allowed, and server errors."""
    declared = case.operation.definition.raw["responses"]
    assert str(response.status_code) in declared or response.status_code == 405, response.status_code


@schemathesis.check
def every_error_is_a_problem(_: Any, response: Any, __: Any) -> None:
    """Every error is a problem (RFC 9457) with the status of the answer."""
    if response.status_code < 400:
        return
    assert response.headers["content-type"] == [PROBLEM]
    body = response.json()
    assert body["status"] == response.status_code
    assert body["title"]
    assert "Traceback" not in response.text


@schemathesis.check
def no_number_is_none(_: Any, response: Any, __: Any) -> None:
    """Answers have no NaN and no Infinity."""
    if response.content and response.headers.get("content-type", [""])[0].endswith("json"):
        json.loads(response.text, parse_constant=_no_json)


def _no_json(word: str) -> None:
    raise AssertionError(f"{word} is not a JSON number")
