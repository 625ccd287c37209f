"""Writes measurements between the markers of docs/benchmarks.md; people write the rest of the page."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

from benchmarks.report.paired import Ratio
from benchmarks.report.targets import TARGETS, Result

PAGE = Path(__file__).parents[2] / "docs" / "benchmarks.md"
HEADER = ("#", "what", "case", "measured", "target", "")
NOT_MEASURED = "not measured"


@dataclass(frozen=True)
class Part:
    """The measurements of one part of the benchmark."""

    results: Sequence[Result]
    text: str  # Markdown


def with_part(page: str, name: str, part: Part) -> str:
    """The page with the text of a part, and with its results instead of earlier ones for the same targets."""
    rows = _rows_by_target(_between(page, "targets"))
    for target, results in groupby(part.results, key=lambda result: result.target):
        rows[target] = list(_rows(target, list(results)))
    lines = [row for target in TARGETS for row in rows.get(target) or _rows(target, [Result(target, "", NOT_MEASURED)])]
    page = _replaced(page, "targets", "\n".join([*table_head(HEADER), *lines]))
    return _replaced(page, name, part.text)


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table."""
    return "\n".join([*table_head(header), *(_line(row) for row in rows)])


def table_head(header: Sequence[str]) -> list[str]:
    """The header line and the rule of a Markdown table."""
    return [_line(header), _line(["---"] * len(header))]


def format_ratio(measured: Ratio, unit: str = "") -> str:
    """The median, followed by the quartiles if they differ from each other."""
    median = f"{_digits(measured.median)}{unit}"
    if measured.lower_quartile == measured.upper_quartile:
        return median
    return f"{median} ({_digits(measured.lower_quartile)}–{_digits(measured.upper_quartile)})"


def _digits(value: float) -> str:
    """At least three significant digits for values above 0.1; no decimals from 100 on."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.3f}"


def _rows(target: str, results: Sequence[Result]) -> Iterable[str]:
    limit = TARGETS[target]
    for number, result in enumerate(results):
        what = limit.what if number == 0 else ""
        if isinstance(result.measured, str):
            measured, verdict = result.measured, ""
        else:
            measured = format_ratio(result.measured, limit.unit)
            verdict = "met" if limit.met(result.measured) else "**missed**"
        yield _line([target, what, result.case, measured, str(limit), verdict])


def _rows_by_target(lines: str) -> dict[str, list[str]]:
    rows: dict[str, list[str]] = {}
    for line in lines.splitlines():
        target = line.strip("| ").partition("|")[0].strip()
        if target in TARGETS:
            rows.setdefault(target, []).append(line)
    return rows


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _between(page: str, name: str) -> str:
    found = _marked(name).search(page)
    if found is None:
        raise ValueError(f"the page has no markers for {name}")
    return found[0]


def _replaced(page: str, name: str, text: str) -> str:
    _between(page, name)
    # count=1: after an empty match, the same position would match again, up to the end marker of the next part.
    return _marked(name).sub(lambda _: f"\n{text.strip()}\n\n", page, count=1)


def _marked(name: str) -> re.Pattern[str]:
    return re.compile(rf"(?<=<!-- written by `make bench`: {re.escape(name)} -->\n).*?(?=<!-- to here -->)", re.DOTALL)
