"""Read models of a study: its status, its progress, and the table over its experiments."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from service.analysis.profile import levels, slopes
from service.analysis.study_table import Measured, TableRow, table
from service.contract.gradient_norm_layout import GradientNormLayout
from service.contract.record import Status
from service.contract.recording_spec import Statistic
from service.store.study_handle import Run, Study, StudyHandle, Tally

Metrics = dict[str, float | None]  # by name; None where an experiment does not have the metric


class StudyStatus(StrEnum):
    """The status of a study as a whole."""

    QUEUED = "queued"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"


@dataclass(frozen=True)
class StudyProgress:
    """The status of a study and the progress of its experiments."""

    status: StudyStatus
    counts: Mapping[str, int]  # experiments by status
    step: int  # optimizer steps of all experiments together
    total_steps: int


def progress_of(study: Study, tally: Tally) -> StudyProgress:
    """Return the progress of a study; deleted experiments do not count."""
    counts = {status.value: tally.counts.get(status, 0) for status in Status}
    total = sum(counts.values())
    if counts["queued"] + counts["running"]:
        status = StudyStatus.QUEUED if counts["queued"] == total else StudyStatus.RUNNING
    elif counts["succeeded"] == total > 0:
        status = StudyStatus.SUCCEEDED
    else:
        status = StudyStatus.CANCELLED if study.cancel_requested else StudyStatus.FAILED
    return StudyProgress(status, counts, tally.step, tally.steps)


def rows(handle: StudyHandle, runs: Sequence[Run], steps: Sequence[int]) -> tuple[list[TableRow], list[str]]:
    """Return the table of a study and the names of its metrics.

    Args:
        handle: The study.
        runs: Its experiments that were not deleted.
        steps: Optimizer steps at which the table shows slope and level; −1 is the last recorded step.
    """
    ended = [run for run in runs if run.status == Status.SUCCEEDED]
    profiles = _profiles(handle, ended, steps)
    metrics: dict[int, Metrics] = {}
    for run in ended:
        outcome = run.outcome.model_dump(exclude={"diverged_at_step", "stopped_early"})
        metrics[run.cell] = outcome | profiles[run.id]
    names = _names(metrics.values())
    diverged = {run.cell for run in ended if run.outcome.diverged_at_step is not None}
    grid = enumerate(handle.study.spec.cells())
    cells = [Measured(cell.without_seeds, metrics.get(i), i in diverged) for i, cell in grid]
    return table(cells, names), names


def _names(metrics: Iterable[Metrics]) -> list[str]:
    """Return the metrics that at least one experiment has: a study of regressions has no accuracy."""
    found: dict[str, bool] = {}
    for of_one in metrics:
        for name, value in of_one.items():
            found[name] = found.get(name, False) or value is not None
    return [name for name, known in found.items() if known]


def _profiles(handle: StudyHandle, runs: Sequence[Run], steps: Sequence[int]) -> dict[str, Metrics]:
    """Return slope and level of each experiment, by its id, at each of the steps."""
    found: dict[str, Metrics] = {run.id: {} for run in runs}
    packed = handle.pieces(Statistic.GRADIENT_NORM, {r.id: [r.norms.bytes_of(step) for step in steps] for r in runs})
    by_layout: dict[GradientNormLayout, list[str]] = {}
    for run in runs:
        by_layout.setdefault(run.norms, []).append(run.id)
    for layout, ids in by_layout.items():
        for k, step in enumerate(steps):
            norms = _kernel_norms(layout, [packed[run_id][k] for run_id in ids])
            for run_id, slope, level in zip(ids, slopes(norms), levels(norms), strict=True):
                found[run_id] |= {f"slope@{step}": _number(slope), f"level@{step}": _number(level)}
    return found


def _kernel_norms(
    layout: GradientNormLayout, rows: Sequence[bytes]
) -> np.ndarray[tuple[int, int], np.dtype[np.float64]]:
    """Return norms [experiments, kernels], kernels from input to output; NaN where an experiment has no such step."""
    norms = np.full((len(rows), len(layout.columns)), np.nan)
    for i, row in enumerate(rows):
        if len(row) == layout.row_bytes:  # Redis returns other lengths for steps before the first or after the last
            norms[i] = np.frombuffer(row, layout.values)
    return norms[:, layout.kernels]


def _number(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None
