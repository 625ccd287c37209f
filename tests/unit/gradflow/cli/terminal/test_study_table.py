"""The table of a study in a terminal."""

import io
from typing import Any

from rich.console import Console

from gradflow.cli.terminal.study_table import counts_line, study_table

Json = dict[str, Any]


def metric(mean: float | None, ci95: float | None = None) -> Json:
    return {"count": 2, "mean": mean, "std": None, "ci95": ci95}


def row(axes: Json, replicates: int = 2, missing: int = 0, diverged: int = 0, **metrics: Json) -> Json:
    return {
        "axes": axes,
        "replicates": replicates,
        "missing": missing,
        "diverged": diverged,
        "metrics": {name.replace("_at_", "@"): summary for name, summary in metrics.items()},
    }


def shown(*rows: Json) -> list[list[str]]:
    """The cells of each line; columns are at least two spaces apart."""
    file = io.StringIO()
    Console(file=file, width=120).print(study_table({"table": list(rows)}))
    lines = file.getvalue().splitlines()
    return [[cell.strip() for cell in line.split("  ") if cell.strip()] for line in lines]


def test_each_combination_is_a_row_of_means_and_intervals() -> None:
    lines = shown(
        row({"model.activation": "relu"}, val_accuracy=metric(0.93751, 0.0123), slope_at_0=metric(-0.0012, 0.1)),
        row({"model.activation": "sigmoid"}, val_accuracy=metric(0.5), slope_at_0=metric(None)),
    )

    assert lines == [
        ["activation", "n", "val_accuracy", "slope, first"],
        ["relu", "2", "0.938 ± 0.012", "-0.0012 ± 0.1"],
        ["sigmoid", "2", "0.5"],
    ]


def test_small_losses_keep_their_digits() -> None:
    assert shown(row({}, val_loss=metric(0.0000123, 0.0000004)))[1] == ["2", "1.23e-05 ± 4e-07"]


def test_missing_and_diverged_experiments_are_counted() -> None:
    lines = shown(
        row({"training.batch_size": 8}, replicates=3, missing=5, val_loss=metric(1.0)),
        row({"training.batch_size": 9}, replicates=8, diverged=6, val_loss=metric(1.0)),
    )

    assert lines[0][:3] == ["batch_size", "n", "diverged"]
    assert lines[1][:3] == ["8", "3 of 8", "0"]
    assert lines[2][:3] == ["9", "8", "6"]


def test_values_that_are_not_strings_are_shown_as_json_and_nothing_is_markup() -> None:
    lines = shown(row({"training.optimizer": {"name": "sgd"}}), row({"training.optimizer": "[b]x"}))

    assert [line[0] for line in lines] == ["optimizer", '{"name": "sgd"}', "[b]x"]


def test_a_study_without_rows_is_an_empty_table() -> None:
    assert shown() == [["n"]]


def test_counts_that_are_zero_are_left_out() -> None:
    counts = {"queued": 0, "running": 0, "succeeded": 30, "failed": 2, "cancelled": 0}

    assert counts_line({"status": "failed", "counts": counts}) == "failed: 30 succeeded, 2 failed"
