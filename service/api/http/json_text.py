"""JSON that every reader understands alike: what RFC 7493 asks for, and no NUL."""

import json
import math
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from service.contract.errors import NotJson

NO_TEXT = re.compile("[\0\ud800-\udfff]")
ESCAPED_NO_TEXT = re.compile(rb"\\u(?:0000|[dD][89a-fA-F])")
LONGEST_INTEGER = 308  # digits that a double can hold, whatever they are


@dataclass(frozen=True)
class _Fault:
    """Stands where something stood that no two readers agree on."""

    message: str


def read_json(body: bytes) -> Any:
    """The value of a JSON text.

    Raises:
        NotJson: naming the place of what is no JSON, or is not the same to every reader.
    """
    faults: list[_Fault] = []

    def fault(message: str) -> _Fault:
        faults.append(_Fault(message))
        return faults[-1]

    def constant(text: str) -> _Fault:
        return fault(f"{text} is no number of JSON")

    def integer(text: str) -> int | _Fault:
        return int(text) if len(text) <= LONGEST_INTEGER else fault("a number beyond the range of a double")

    def real(text: str) -> float | _Fault:
        number = float(text)
        return number + 0.0 if math.isfinite(number) else fault("a number beyond the range of a double")  # −0 is 0

    def members(pairs: list[tuple[str, Any]]) -> dict[str, Any] | _Fault:
        found = dict(pairs)
        if len(found) == len(pairs):
            return found
        twice = next(name for name, times in Counter(name for name, _ in pairs).items() if times > 1)
        return fault(f"{_short(twice)} is there more than once")

    try:
        value = json.loads(
            body.decode(), parse_constant=constant, parse_int=integer, parse_float=real, object_pairs_hook=members
        )
    except UnicodeDecodeError as error:
        raise NotJson((), f"not UTF-8 at byte {error.start}") from error
    except json.JSONDecodeError as error:
        raise NotJson((), f"not JSON: {error.msg.removesuffix(' at')} at character {error.pos}") from error
    except RecursionError as error:
        raise NotJson((), "not JSON that anybody nests like this") from error
    if faults or ESCAPED_NO_TEXT.search(body):
        for location, message in _faults(value):
            raise NotJson(location, message)
    return value


def _faults(value: Any) -> Iterator[tuple[tuple[str, ...], str]]:
    """Each with its place, without recursion."""
    waiting: list[tuple[tuple[str, ...], Any]] = [((), value)]
    while waiting:
        location, item = waiting.pop()
        match item:
            case _Fault():
                yield location, item.message
            case str() if NO_TEXT.search(item):
                yield location, "NUL and half of a surrogate pair are no text"
            case dict():
                if any(NO_TEXT.search(name) for name in item):
                    yield location, "NUL and half of a surrogate pair are no text, in a name neither"
                waiting += [((*location, name), inner) for name, inner in item.items()]
            case list():
                waiting += [((*location, str(i)), inner) for i, inner in enumerate(item)]


def _short(name: str) -> str:
    text = ascii(name)
    return text if len(text) <= 60 else f"{text[:57]}..."
