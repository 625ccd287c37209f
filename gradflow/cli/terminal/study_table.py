"""The table of a study: one row per combination, over its seeds."""

import json

from rich.table import Table

from gradflow.cli.terminal.printable_text import printable
from gradflow.client import Json

# The metrics that fit in a terminal. Of a group, the first one that the study has is shown.
SHOWN = (("val_accuracy", "val_loss"), ("slope@0",), ("slope@-1",), ("level@0",), ("level@-1",))
HEADINGS = {"slope@0": "slope, first", "slope@-1": "slope, last", "level@0": "level, first", "level@-1": "level, last"}


def study_table(study: Json) -> Table:
    """Mean and half the width of the 95 % confidence interval of each metric.

    Args:
        study: answer of `GET /v1/studies/{id}`.
    """
    rows = study["table"]
    paths = list(rows[0]["axes"]) if rows else []
    known = {name for row in rows for name in row["metrics"]}
    shown = [next(name for name in names if name in known) for names in SHOWN if known.intersection(names)]
    any_diverged = any(row["diverged"] for row in rows)
    table = Table(box=None, padding=(0, 1))
    for path in paths:
        table.add_column(printable(path.rpartition(".")[2]))
    for heading in ("n", *(["diverged"] if any_diverged else []), *(HEADINGS.get(name, name) for name in shown)):
        table.add_column(heading, justify="right")
    for row in rows:
        values = [value if isinstance(value, str) else json.dumps(value) for value in row["axes"].values()]
        diverged = [str(row["diverged"])] if any_diverged else []
        metrics = (_mean(row["metrics"].get(name)) for name in shown)
        table.add_row(*map(printable, values), _replicates(row), *diverged, *metrics)
    return table


def counts_line(study: Json) -> str:
    """The status of a study and the number of its experiments per status: `failed: 30 succeeded, 2 failed`."""
    counts = ", ".join(f"{count} {status}" for status, count in study["counts"].items() if count)
    return f"{study['status']}: {counts}"


def _replicates(row: Json) -> str:
    succeeded, missing = row["replicates"], row["missing"]
    return f"{succeeded} of {succeeded + missing}" if missing else str(succeeded)


def _mean(metric: Json | None) -> str:
    if metric is None or metric["mean"] is None:
        return ""
    if metric["ci95"] is None:
        return f"{metric['mean']:.3g}"
    return f"{metric['mean']:.3g} ± {metric['ci95']:.2g}"
