"""A study in a terminal: progress over its experiments, and its table."""

import json

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

from gradflow.cli.terminal import printable
from gradflow.client import ENDED, Client, Json

# The figures that a terminal has room for, the first of each pair that the study has.
SHOWN = (("val_accuracy", "val_loss"), ("slope@0",), ("slope@-1",), ("level@0",), ("level@-1",))
HEADINGS = {"slope@0": "slope, first", "slope@-1": "slope, last", "level@0": "level, first", "level@-1": "level, last"}


def follow_study(client: Client, study_id: str, console: Console) -> Json:
    """Show a progress bar until all experiments of the study have ended; the study then."""
    columns = (
        TextColumn("{task.description:>24}", markup=False),
        BarColumn(bar_width=32),
        MofNCompleteColumn(),
        TextColumn("experiments  {task.fields[status]}"),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(elapsed_when_finished=False),
    )
    study: Json = {}
    with Progress(*columns, console=console) as progress:
        bar = progress.add_task("study", status="queued", total=None)
        for study in client.watch_study(study_id):
            counts = study["counts"]
            done = sum(counts[status] for status in ENDED)
            progress.update(bar, completed=done, total=sum(counts.values()), status=study["status"])
    return study


def study_table(study: Json) -> Table:
    """One line a combination: mean ± half the 95 % interval."""
    rows = study["table"]
    paths = list(rows[0]["axes"]) if rows else []
    known = {name for row in rows for name in row["metrics"]}
    shown = [next(name for name in names if name in known) for names in SHOWN if known.intersection(names)]
    table = Table(box=None, padding=(0, 1))
    for path in paths:
        table.add_column(printable(path.rpartition(".")[2]))
    counted = ["n", "diverged"] if any(row["diverged"] for row in rows) else ["n"]  # such have fewer figures
    for heading in (*counted, *(HEADINGS.get(name, name) for name in shown)):
        table.add_column(heading, justify="right")
    for row in rows:
        values = [value if isinstance(value, str) else json.dumps(value) for value in row["axes"].values()]
        ended = str(row["replicates"]) if not row["missing"] else f"{row['replicates']} of {_all(row)}"
        counts = [ended, str(row["diverged"])][: len(counted)]
        table.add_row(*map(printable, values), *counts, *(_figure(row["metrics"].get(name)) for name in shown))
    return table


def counts_line(study: Json) -> str:
    """As in `failed: 2 failed, 30 succeeded`."""
    counts = ", ".join(f"{count} {status}" for status, count in study["counts"].items() if count)
    return f"{study['status']}: {counts}"


def _all(row: Json) -> int:
    return int(row["replicates"]) + int(row["missing"])


def _figure(summary: Json | None) -> str:
    if summary is None or summary["mean"] is None:
        return ""
    if summary["ci95"] is None:
        return f"{summary['mean']:.3g}"
    return f"{summary['mean']:.3g} ± {summary['ci95']:.2g}"
