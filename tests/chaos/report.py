"""Writes the tables of docs/reliability.md from files of results."""

import json
import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.report import machine
from benchmarks.report.page import table

PAGE = Path(__file__).parents[2] / "docs" / "reliability.md"
BEGIN, END = "<!-- written by `make chaos`: {} -->", "<!-- to here -->"

MIN_FAULTS_FOR_A_BOUND = 10

Row = Mapping[str, Any]


def write(results: Path) -> None:
    """Replace the page's tables by those of the files; a table without a file stays unchanged."""
    text = PAGE.read_text()
    files = {"faults": (results, _faults)}
    files |= {
        "ten kills": (related(results, "ten-kills"), _ten_kills),
        "contrast": (related(results, "contrast"), _contrast),
    }
    for name, (file, part) in files.items():
        if file.exists():
            text = _with(text, name, part(_read(file)))
    PAGE.write_text(text)


def related(results: Path, what: str) -> Path:
    """Return the file of other results that belongs to this file."""
    return results.with_name(f"{results.stem}-{what}{results.suffix}")


def _read(path: Path) -> list[Row]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def _with(text: str, name: str, part: str) -> str:
    begin = BEGIN.format(name)
    head, _, rest = text.partition(begin)
    _, _, tail = rest.partition(END)
    if not rest:
        raise ValueError(f"{PAGE.name} has no marks for {name}")
    return f"{head}{begin}\n\n{part}\n\n{END}{tail}"


def _faults(rows: Sequence[Row]) -> str:
    found = []
    for kind in dict.fromkeys(row["kind"] for row in rows):
        for settings in ("short", "default"):
            of = [row for row in rows if row["kind"] == kind and row["settings"] == settings and row["count"]]
            if of:
                found.append(_line(kind, settings, of))
    header = (
        *("fault", "lease", "faults", "runs", "wrong", "double claims", "upper bound¹", "late writes refused"),
        *("requeued, s²", "progress, s²", "seeds"),
    )
    wrong = [f"- {row['kind']} ({row['settings']}, seed {row['seed']}): {why}" for row in rows for why in row["wrong"]]
    errors = sum(row["server_errors"] for row in rows)
    summary = f"Answers with status 500: {errors}." + ("\n\nErrors:\n\n" + "\n".join(wrong) if wrong else "")
    return f"{machine.described()}\n\n{table(header, found)}\n\n{summary}"


def _line(kind: str, settings: str, rows: Sequence[Row]) -> tuple[str, ...]:
    count, runs = (sum(row[name] for row in rows) for name in ("count", "runs"))
    wrong, doubled, refused = (
        sum(_number(row[name]) for row in rows) for name in ("wrong", "double_claims", "refused_writes")
    )
    bound = f"{100 * 3 / count:.1f} %" if count >= MIN_FAULTS_FOR_A_BOUND and not wrong and not doubled else ""
    seeds = ", ".join(str(row["seed"]) for row in rows)
    times = (_times(value for row in rows for value in row[name]) for name in ("requeued_s", "resumed_s"))
    lease = "30 s" if settings == "default" else "3 s"
    return (kind, lease, f"{count}", f"{runs}", f"{wrong}", f"{doubled}", bound, f"{refused}", *times, seeds)


def _number(value: list[str] | int) -> int:
    return value if isinstance(value, int) else len(value)


def _times(values: Iterable[float]) -> str:
    """Return the median, the 99th percentile and the maximum."""
    found = sorted(values)
    if not found:
        return ""
    p99 = found[min(len(found) - 1, math.ceil(0.99 * len(found)) - 1)]
    return f"{statistics.median(found):.1f} / {p99:.1f} / {found[-1]:.1f}"


def _contrast(rows: Sequence[Row]) -> str:
    lines = [
        (row["kind"], f"acknowledged {row['acks']}", *(f"{row[name]}" for name in ("runs", "lost", "corrupt", "twice")))
        for row in rows
    ]
    return table(("fault", "messages", "runs", "lost", "wrong history", "trained more than once"), lines)


def _ten_kills(rows: Sequence[Row]) -> str:
    lines = [
        (
            f"{row['seed']}",
            f"{row['steps']:,}",
            f"{row['kills']}",
            f"{row['repeated_steps']:,}",
            f"{row['ratio']:.3f}",
            f"{row['undisturbed_s']:.0f} s",
            f"{row['resume_s']:.0f} s",
            "yes" if row["same"] else "no",
        )
        for row in rows
    ]
    header = (
        "seed",
        "steps",
        "kills",
        "recorded steps repeated",
        "computed steps per step, at most",
        "training",
        "restarts",
        "same bytes",
    )
    return table(header, lines)
