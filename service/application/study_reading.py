"""How a study stands: counts, progress, and its table from what its experiments have recorded."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from service.analysis.profile import levels, slopes
from service.analysis.study_table import Measured, Row, table
from service.contract.norm_layout import NormLayout
from service.contract.record import Status
from service.contract.recording_spec import Statistic
from service.store.experiments import Experiments
from service.store.studies import Run, Study, Tally

Figures = dict[str, float | None]


class StudyStatus(StrEnum):
    """Where a study stands."""

    QUEUED = "queued"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"


@dataclass(frozen=True)
class Standing:
    """Where the experiments of a study stand."""

    status: StudyStatus
    counts: Mapping[str, int]
    step: int
    total_steps: int


def standing(study: Study, tally: Tally) -> Standing:
    """Of a study with these experiments, which are all that were not deleted."""
    counts = {status.value: tally.counts.get(status, 0) for status in Status}
    all_of_them = sum(counts.values())
    if counts["queued"] + counts["running"]:
        status = StudyStatus.QUEUED if counts["queued"] == all_of_them else StudyStatus.RUNNING
    elif counts["succeeded"] == all_of_them > 0:
        status = StudyStatus.SUCCEEDED
    else:
        status = StudyStatus.CANCELLED if study.cancel_requested else StudyStatus.FAILED
    return Standing(status, counts, tally.step, tally.steps)


def rows(store: Experiments, study: Study, runs: Sequence[Run], steps: Sequence[int]) -> tuple[list[Row], list[str]]:
    """The table of a study, and the names of its figures; slope and level at these steps, from the end if negative."""
    ended = [run for run in runs if run.status == Status.SUCCEEDED]
    profiles = _profiles(store, ended, steps)
    figures: dict[int, Figures] = {}
    for run in ended:
        outcome = run.outcome.model_dump(exclude={"diverged_at_step", "stopped_early"})
        figures[run.cell] = outcome | profiles[run.id]
    names = _names(figures.values())
    diverged = {run.cell for run in ended if run.outcome.diverged_at_step is not None}
    cells = [Measured(cell.without_seeds, figures.get(i), i in diverged) for i, cell in enumerate(study.spec.cells())]
    return table(cells, names), names


def _names(figures: Iterable[Figures]) -> list[str]:
    """Figures that any experiment has; accuracy has no place in a study of regressions."""
    found: dict[str, bool] = {}
    for of in figures:
        for name, value in of.items():
            found[name] = found.get(name, False) or value is not None
    return [name for name, known in found.items() if known]


def _profiles(store: Experiments, runs: Sequence[Run], steps: Sequence[int]) -> dict[str, Figures]:
    """Slope and level of each experiment at each step that it recorded."""
    found: dict[str, Figures] = {run.id: {} for run in runs}
    packed = store.pieces(Statistic.GRADIENT_NORM, {r.id: [r.norms.bytes_of(step) for step in steps] for r in runs})
    by_layout: dict[NormLayout, list[str]] = {}
    for run in runs:
        by_layout.setdefault(run.norms, []).append(run.id)
    for layout, ids in by_layout.items():
        for k, step in enumerate(steps):
            norms = _kernel_norms(layout, [packed[run_id][k] for run_id in ids])
            for run_id, slope, level in zip(ids, slopes(norms), levels(norms), strict=True):
                found[run_id] |= {f"slope@{step}": _number(slope), f"level@{step}": _number(level)}
    return found


def _kernel_norms(layout: NormLayout, rows: Sequence[bytes]) -> np.ndarray[tuple[int, int], np.dtype[np.float64]]:
    """Norms [experiments, kernels] from input to output; NaN where an experiment has no such row."""
    norms = np.full((len(rows), len(layout.columns)), np.nan)
    for i, row in enumerate(rows):
        if len(row) == layout.row_bytes:  # else of a byte, where it lies before the first
            norms[i] = np.frombuffer(row, layout.values)
    return norms[:, layout.kernels]


def _number(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None
