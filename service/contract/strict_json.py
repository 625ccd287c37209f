"""Strict JSON: what every parser reads alike (RFC 7493, I-JSON), and no NUL."""

import json
import math
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from service.contract.errors import NotJson

NOT_TEXT = re.compile("[\0\ud800-\udfff]")  # NUL and surrogates; paired ones are one character after parsing
ESCAPED_NOT_TEXT = re.compile(rb"\\u(?:0000|[dD][89a-fA-F])")
MAX_INTEGER_DIGITS = 308  # every integer with at most 308 digits is in the range of a float64
OUT_OF_RANGE = "the number is out of the range of a 64-bit float"
NOT_TEXT_MESSAGE = "must not contain NUL or unpaired surrogates"


@dataclass(frozen=True)
class _Fault:
    """Takes the place of a value that parsers may read differently."""

    message: str


def read_json(body: bytes) -> Any:
    """Parse a JSON text.

    Raises:
        NotJson: The text is not JSON, or parsers may read it differently; the error has the location.
    """
    faults: list[_Fault] = []

    def fault(message: str) -> _Fault:
        faults.append(_Fault(message))
        return faults[-1]

    def constant(text: str) -> _Fault:
        return fault(f"{text} is not a JSON number")

    def integer(text: str) -> int | _Fault:
        return int(text) if len(text) <= MAX_INTEGER_DIGITS else fault(OUT_OF_RANGE)

    def real(text: str) -> float | _Fault:
        number = float(text)
        return number + 0.0 if math.isfinite(number) else fault(OUT_OF_RANGE)  # −0 is 0

    def members(pairs: list[tuple[str, Any]]) -> dict[str, Any] | _Fault:
        found = dict(pairs)
        if len(found) == len(pairs):
            return found
        twice = next(name for name, times in Counter(name for name, _ in pairs).items() if times > 1)
        return fault(f"the key {_short(twice)} occurs more than once")

    try:
        value = json.loads(
            body.decode(), parse_constant=constant, parse_int=integer, parse_float=real, object_pairs_hook=members
        )
    except UnicodeDecodeError as error:
        raise NotJson((), f"not UTF-8 at byte {error.start}") from error
    except json.JSONDecodeError as error:
        raise NotJson((), f"not JSON: {error.msg.removesuffix(' at')} at character {error.pos}") from error
    except RecursionError as error:
        raise NotJson((), "JSON is nested too deeply") from error
    if faults or ESCAPED_NOT_TEXT.search(body):
        for location, message in _faults(value):
            raise NotJson(location, message)
    return value


def _faults(value: Any) -> Iterator[tuple[tuple[str, ...], str]]:
    """Location and message of each fault, found without recursion."""
    waiting: list[tuple[tuple[str, ...], Any]] = [((), value)]
    while waiting:
        location, item = waiting.pop()
        match item:
            case _Fault():
                yield location, item.message
            case str() if NOT_TEXT.search(item):
                yield location, f"strings {NOT_TEXT_MESSAGE}"
            case dict():
                if any(NOT_TEXT.search(name) for name in item):
                    yield location, f"object keys {NOT_TEXT_MESSAGE}"
                waiting += [((*location, name), inner) for name, inner in item.items()]
            case list():
                waiting += [((*location, str(i)), inner) for i, inner in enumerate(item)]


def _short(name: str) -> str:
    text = ascii(name)
    return text if len(text) <= 60 else f"{text[:57]}..."
