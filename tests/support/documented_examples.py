"""Parses the examples of docs/api.md and compares documented answers with real ones."""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

ANY = "…"
FENCE = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
COMMAND = re.compile(r"^curl .*?(?=^curl |\Z)", re.MULTILINE | re.DOTALL)
MEASURED_TOLERANCE = Decimal("0.05")  # relative: another processor rounds differently, and training amplifies it
# Numbers with a decimal point below these keys come from a spec or from a constant, so they are compared exactly.
EXACT = frozenset({"spec", "base", "axes", "change", "threshold"})


@dataclass(frozen=True)
class Example:
    """The commands of one `sh` block, and the answer that the page shows for the last of them.

    `kind` is the language of the answer's block: `json`, `text`, or an empty string if the page shows no answer.
    """

    commands: tuple[str, ...]
    kind: str
    answer: str


def examples(page: str) -> list[Example]:
    """All examples of a page in its order.

    Raises:
        ValueError: A block with an answer does not follow a block with commands, or a block has another language.
    """
    found: list[Example] = []
    for language, text in FENCE.findall(page):
        if language == "sh":
            found.append(Example(tuple(command.strip() for command in COMMAND.findall(text)), "", ""))
        elif language in ("json", "text") and found and found[-1].commands and not found[-1].kind:
            found[-1] = Example(found[-1].commands, language, text)
        else:
            raise ValueError(f"no command precedes this block of {language}:\n{text}")
    return found


def read_json(text: str) -> Any:
    """JSON whose numbers with a decimal point keep the digits with which they are written."""
    return json.loads(text, parse_float=Decimal)


def text_matches(shown: str, actual: str) -> bool:
    """Whether a text equals the documented one, in which `…` stands for any text."""
    return re.fullmatch(".*".join(map(re.escape, shown.split(ANY))), actual, re.DOTALL) is not None


def differences(shown: Any, actual: Any, path: tuple[str, ...] = ()) -> Iterator[str]:
    """What differs between a documented value and a real one, one sentence each.

    Args:
        shown: The documented value, from `read_json`.
        actual: The real value, from `read_json`.
        path: Keys that lead to both values.
    """
    where = ".".join(path) or "the answer"
    if shown == ANY:
        return
    if isinstance(shown, dict) and isinstance(actual, dict):
        yield from _of_objects(shown, actual, path)
    elif isinstance(shown, list) and isinstance(actual, list):
        yield from _of_lists(shown, actual, path)
    elif isinstance(shown, str) and isinstance(actual, str):
        if not (_is_time(shown, actual) if path and path[-1].endswith("_at") else text_matches(shown, actual)):
            yield f"{where} is {actual!r}, documented as {shown!r}"
    elif isinstance(shown, Decimal) and isinstance(actual, Decimal | int) and not isinstance(actual, bool):
        if not _same_number(shown, Decimal(actual), path):
            yield f"{where} is {actual}, documented as {shown}"
    elif type(shown) is not type(actual) or shown != actual:
        yield f"{where} is {actual!r}, documented as {shown!r}"


def _of_objects(shown: dict[str, Any], actual: dict[str, Any], path: tuple[str, ...]) -> Iterator[str]:
    where = ".".join(path) or "the answer"
    named = shown.keys() - {ANY}
    for key in sorted(named - actual.keys()):
        yield f"{where} has no key {key!r}"
    if ANY not in shown:
        for key in sorted(actual.keys() - named):
            yield f"{where} has the undocumented key {key!r}"
    for key in sorted(named & actual.keys()):
        yield from differences(shown[key], actual[key], (*path, key))


def _of_lists(shown: list[Any], actual: list[Any], path: tuple[str, ...]) -> Iterator[str]:
    where = ".".join(path) or "the answer"
    more = bool(shown) and shown[-1] == ANY
    first = shown[:-1] if more else shown
    if len(actual) < len(first) or (len(actual) > len(first) and not more):
        yield f"{where} has {len(actual)} elements, documented with {len(first)}{' or more' if more else ''}"
    for index, (documented, real) in enumerate(zip(first, actual, strict=False)):
        yield from differences(documented, real, (*path, str(index)))


def _is_time(shown: str, actual: str) -> bool:
    """Whether both are times in the same notation."""
    try:
        datetime.fromisoformat(actual)
    except ValueError:
        return False
    return len(shown) == len(actual)


def _same_number(shown: Decimal, actual: Decimal, path: tuple[str, ...]) -> bool:
    if path and path[-1].endswith("_s"):
        return True  # a duration
    if EXACT & set(path):
        return shown == actual
    exponent = shown.as_tuple().exponent
    assert isinstance(exponent, int)  # JSON has no NaN and no infinity
    rounding = Decimal((0, (1,), exponent)) / 2
    return abs(shown - actual) <= rounding + MEASURED_TOLERANCE * abs(shown)
