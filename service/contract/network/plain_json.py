"""JSON from outside, before anything is believed of it."""

import math
from typing import Any, cast

from service.contract.errors import NotJson
from service.contract.strict_json import NOT_TEXT, NOT_TEXT_MESSAGE, read_json

DEEPEST = 40  # levels of nesting; what Keras prints has at most a dozen

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
    """Refuse what is nested deeper than anything that Keras prints, without recursion; what is no number; no text."""
    waiting = [(value, 0)]
    while waiting:
        item, depth = waiting.pop()
        if depth > DEEPEST:
            raise ValueError(f"nested deeper than {DEEPEST} levels")
        if isinstance(item, dict):
            waiting.extend((v, depth + 1) for pair in item.items() for v in pair)
        elif isinstance(item, list):
            waiting.extend((v, depth + 1) for v in item)
        elif isinstance(item, float) and not math.isfinite(item):
            raise ValueError("NaN and infinity are not JSON numbers")
        elif isinstance(item, str) and NOT_TEXT.search(item):
            raise ValueError(f"strings {NOT_TEXT_MESSAGE}: {short(item)}")


def check_keys(what: str, value: Any, required: set[str], optional: set[str]) -> None:
    """Refuse what is no object with these keys and no others; `what` begins the message."""
    if not isinstance(value, dict):
        raise ValueError(f"{what}: not an object")
    missing = required - value.keys()
    if missing:
        raise ValueError(f"{what}: {', '.join(sorted(missing))} missing")
    unknown = [key for key in value if key not in required and key not in optional]
    if unknown:
        raise ValueError(f"{what}: unknown field {short(unknown[0])}")


def short(value: Any) -> str:
    """A value for a message, cut where it is long."""
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
