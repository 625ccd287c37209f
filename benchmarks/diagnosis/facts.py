"""Measures of a run that no rule of a pack computes: its outcome, its gradient profile and its units."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from benchmarks.diagnosis.run import Floats, Run
from service.contract.recording_spec import Statistic

LAST_EPOCHS = 3  # their median is the result of a run, because a single epoch may be an outlier
RISE = 0.2  # relative increase of the loss of an epoch over that of the previous epoch
RISE_OF_TRIVIAL = 0.05  # and increase relative to the trivial loss, so that changes of a loss near 0 do not count


@dataclass(frozen=True)
class Facts:
    """Measures of one run; decades are log10 of the root mean square of a kernel's gradient."""

    skill: float  # 0 for the best constant output, 1 for no error; by accuracy, or by loss for regression
    diverged: bool
    smallest: float  # decades of the kernel with the smallest gradient, median over the first epoch
    smallest_throughout: float  # decades of the kernel with the smallest gradient, median over all steps
    largest: float  # decades of the largest gradient of any kernel at any step
    spread: float  # decades between the kernels with the largest and the smallest gradient, median over the first epoch
    dead: Mapping[str, float]  # layer -> fraction of its units that are 0 for every sample of the last epoch
    saturated: Mapping[
        str, float
    ]  # layer -> fraction of its outputs that are saturated, mean over the last quarter of the steps
    loss_left: float  # final training loss divided by the loss of step 0 or by the trivial loss, whichever is less
    rises: float  # fraction of the epochs whose training loss is clearly above that of the previous epoch
    overfitted: float  # final minus minimum validation loss, divided by the trivial loss
    clipped: float  # fraction of the steps at which clipping changed the gradient

    @property
    def max_dead(self) -> float:
        """The largest fraction of dead units of any layer."""
        return max(self.dead.values(), default=0.0)

    @property
    def max_saturated(self) -> float:
        """The largest fraction of saturated outputs of any layer."""
        return max(self.saturated.values(), default=0.0)


def facts_of(run: Run) -> Facts:
    """Measure a run."""
    decades, first = _decades(run), _first_epoch(run)
    smallest, largest = decades.min(axis=0), decades.max(axis=0)
    finite = np.isfinite(decades[:, :first]).all(axis=0)
    return Facts(
        skill=_skill(run),
        diverged=run.diverged_at_step is not None,
        smallest=_median(smallest[:first]),
        smallest_throughout=_median(smallest),
        largest=float(largest.max()),
        spread=_median(largest[:first][finite] - smallest[:first][finite]),
        dead=_dead(run),
        saturated=_saturated(run),
        loss_left=_end(run.epochs["loss"]) / min(float(run.step_loss[0]), run.trivial_loss),
        rises=_rises(run),
        overfitted=_overfitted(run),
        clipped=_clipped(run),
    )


def _median(values: Floats) -> float:
    return float(np.median(values)) if len(values) else math.inf


def _end(values: Floats) -> float:
    return float(np.median(values[-LAST_EPOCHS:]))


def _decades(run: Run) -> Floats:
    """Decades [kernels, recorded steps]; −inf for a gradient of 0, inf for one that is not finite."""
    rows = run.plan.rows_of(Statistic.GRADIENT_NORM)
    kernels = [i for i, row in enumerate(rows) if row.role == "kernel"]
    entries = np.array([math.prod(rows[i].shape) for i in kernels])
    norms = run.series[Statistic.GRADIENT_NORM][kernels].astype(np.float64) / np.sqrt(entries)[:, None]
    with np.errstate(divide="ignore"):
        return np.where(np.isfinite(norms), np.log10(norms), math.inf)


def _first_epoch(run: Run) -> int:
    """The number of recorded steps in the first epoch."""
    return max(1, int(np.searchsorted(run.steps, run.plan.work.steps_per_epoch)))


def _skill(run: Run) -> float:
    """The skill, at least 0: an output that is worse than a constant has learned nothing either."""
    if math.isnan(run.trivial_accuracy):
        skill = 1 - _end(run.epochs["val_loss"]) / run.trivial_loss
    else:
        skill = (_end(run.epochs["val_accuracy"]) - run.trivial_accuracy) / (1 - run.trivial_accuracy)
    return max(0.0, skill) if math.isfinite(skill) and run.diverged_at_step is None else 0.0


def _dead(run: Run) -> dict[str, float]:
    last = run.series[Statistic.INACTIVE_UNITS][:, -1]
    return {row.layer: float(v) for row, v in zip(run.plan.activations, last, strict=True)}


def _saturated(run: Run) -> dict[str, float]:
    values = run.series[Statistic.SATURATED_FRACTION]
    last = values[:, -max(1, values.shape[1] // 4) :].mean(axis=1)
    return {row.layer: float(v) for row, v in zip(run.plan.activations, last, strict=True) if math.isfinite(v)}


def _rises(run: Run) -> float:
    loss = run.epochs["loss"]
    if len(loss) < 2:
        return 0.0
    with np.errstate(invalid="ignore"):
        rises = np.diff(loss) > np.maximum(RISE * loss[:-1], RISE_OF_TRIVIAL * run.trivial_loss)
    return float(rises.mean())


def _overfitted(run: Run) -> float:
    loss = run.epochs["val_loss"]
    above = (_end(loss) - float(np.min(loss))) / run.trivial_loss
    return above if math.isfinite(above) else 0.0


def _clipped(run: Run) -> float:
    after = run.series.get(Statistic.CLIPPED_NORM)
    if after is None:
        return 0.0
    before = run.series[Statistic.GRADIENT_NORM]
    return float((after < 0.999 * before).any(axis=0).mean())
