"""Checks of JSON from a client before it is interpreted."""

import math
from typing import Any, cast

from service.contract.errors import NotJson
from service.contract.strict_json import NOT_TEXT, NOT_TEXT_MESSAGE, read_json

MAX_DEPTH = 40  # levels of nesting; Keras writes at most a dozen

Json = dict[str, Any]


def parsed(text: str) -> Json:
    """Parse a JSON object.

    Raises:
        ValueError: The text is not strict JSON, or not an object.
    """
    try:
        value = read_json(text.encode("utf-8", "surrogatepass"))
    except NotJson as error:
        raise ValueError(error.fault.message) from error
    if not isinstance(value, dict):
        raise ValueError("not a JSON object")
    return cast("Json", value)


def check_plain(value: Any) -> None:
    """Check nesting, numbers and text without recursion.

    Raises:
        ValueError: The value is nested deeper than MAX_DEPTH, or holds NaN, infinity, NUL or an unpaired surrogate.
    """
    waiting = [(value, 0)]
    while waiting:
        item, depth = waiting.pop()
        if depth > MAX_DEPTH:
            raise ValueError(f"nested too deeply: more than {MAX_DEPTH} levels")
        if isinstance(item, dict):
            waiting.extend((v, depth + 1) for pair in item.items() for v in pair)
        elif isinstance(item, list):
            waiting.extend((v, depth + 1) for v in item)
        elif isinstance(item, float) and not math.isfinite(item):
            raise ValueError("NaN and infinity are not JSON numbers")
        elif isinstance(item, str) and NOT_TEXT.search(item):
            raise ValueError(f"strings {NOT_TEXT_MESSAGE}: {short(item)}")


def check_keys(what: str, value: Any, required: set[str], optional: set[str]) -> None:
    """Check that a value is an object with these keys and no others; `what` begins the message.

    Raises:
        ValueError: It is not.
    """
    if not isinstance(value, dict):
        raise ValueError(f"{what} must be an object")
    missing = required - value.keys()
    if missing:
        raise ValueError(f"{what} lacks {', '.join(sorted(missing))}")
    unknown = [key for key in value if key not in required and key not in optional]
    if unknown:
        raise ValueError(f"{what} has the unknown field {short(unknown[0])}")


def short(value: Any) -> str:
    """Return a value as a message shows it, with at most 60 characters."""
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
