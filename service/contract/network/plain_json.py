"""JSON from outside, before anything is believed of it."""

import json
import math
import re
from typing import Any, NoReturn, cast

DEEPEST = 40  # levels of nesting; what Keras prints has at most a dozen
NO_TEXT = re.compile("[\0\ud800-\udfff]")  # NUL, and code points that no UTF-8 can say

Json = dict[str, Any]


def parsed(text: str) -> Json:
    """The object that a JSON string holds; ValueError says what is wrong with it."""

    def refuse(constant: str) -> NoReturn:
        raise ValueError(f"not JSON: {constant} is no number")

    def members(pairs: list[tuple[str, Any]]) -> Json:
        found = dict(pairs)
        if len(found) < len(pairs):
            raise ValueError("not JSON: a name is there more than once")
        return found

    try:
        value = json.loads(text, parse_constant=refuse, object_pairs_hook=members)
    except json.JSONDecodeError as error:
        raise ValueError(f"not JSON: {error}") from error
    except RecursionError as error:
        raise ValueError("not JSON that anybody nests like this") from error
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
            raise ValueError("NaN and infinity are no numbers here")
        elif isinstance(item, str) and NO_TEXT.search(item):
            raise ValueError(f"NUL and half of a surrogate pair are no text: {short(item)}")


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
