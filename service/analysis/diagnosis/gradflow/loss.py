"""Symptoms in the loss: it does not fall, oscillates, becomes NaN, or falls for the training samples alone."""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from service.analysis.diagnosis import remedies
from service.analysis.diagnosis.evidence import Evidence
from service.analysis.diagnosis.gradflow.confidence import confidence
from service.analysis.diagnosis.rules import CannotEvaluate, Rule
from service.analysis.diagnosis.values import Finding, Symptom
from service.contract.data_spec import RandomData

# Thresholds are round numbers of this project; docs/diagnosis.md states on which runs they were chosen.
MIN_STEPS = 30
BLOCKS = 20  # equal parts of a run whose mean losses are compared
STUCK = 0.95  # fraction of the loss of a guess
MIN_FALL = 0.01  # relative fall of the loss from the second quarter of the run to the last
MIN_RISE, MIN_RISES = 0.2, 2  # relative rise of the loss from epoch to epoch; number of such rises
MAX_CLIMB = 0.03  # all rises of the loss per epoch, as a fraction of the loss of a guess
MIN_EPOCHS = 5
MIN_EXCESS = 0.15  # rise of the validation loss above its best epoch, as a fraction of the loss of a guess
MIN_EXCESS_OVER_BEST = 1.2  # multiple of the validation loss of the best epoch


@dataclass(frozen=True, eq=False)
class LossCurve:
    """The loss of a run, reduced to the means of equal parts."""

    means: npt.NDArray[np.float64]  # [parts]
    guess: float  # loss of a constant prediction, ln(classes); the first mean for a regression

    @property
    def last(self) -> float:
        """Mean of the last quarter of the run."""
        return float(self.means[-max(1, len(self.means) // 4) :].mean())

    @property
    def first(self) -> float:
        """Mean of the first part of the run."""
        return float(self.means[0])


def loss_curve(evidence: Evidence) -> LossCurve:
    """The curve of the finite step losses so far.

    Raises:
        CannotEvaluate: there are fewer than MIN_STEPS.
    """
    loss = evidence.step_loss[np.isfinite(evidence.step_loss)].astype(np.float64)
    if len(loss) < MIN_STEPS:
        raise CannotEvaluate(f"fewer than {MIN_STEPS} steps were made")
    means = np.array([part.mean() for part in np.array_split(loss, BLOCKS)])
    classes = evidence.plan.objective.classes
    guess = math.log(classes) if classes is not None and classes > 1 else float(means[0])
    return LossCurve(means, guess)


def _diverged(rule: Rule, evidence: Evidence) -> Iterator[Finding]:
    broken = np.flatnonzero(~np.isfinite(evidence.step_loss)).tolist()
    if evidence.diverged_at_step is not None:
        broken = sorted({evidence.diverged_at_step, *broken})
    if not broken:
        return
    at = broken[0]
    spec = evidence.plan.spec
    finite = evidence.step_loss[np.isfinite(evidence.step_loss)]
    before = f", after a loss of {finite[-1]:.3g}" if len(finite) else ""
    yield rule.found(
        "critical",
        steps=evidence.recorded_span(at, max(at, len(evidence.step_loss) - 1)),
        observed=len(broken),
        threshold=0,
        explanation=f"The loss or a gradient is NaN or infinite from step {at} on{before} (see step_loss in the "
        "metrics and first_nonfinite_step in the gradients).",
        remedies=(
            *remedies.rate(spec, 0.1, "steps that are too large overshoot further each time"),
            *remedies.clipping(spec),
            *remedies.scaled(spec),
            *remedies.fitting_initializer(spec),
        ),
    )


def _not_decreasing(rule: Rule, evidence: Evidence) -> Iterator[Finding]:
    if isinstance(evidence.plan.spec.data, RandomData):
        raise CannotEvaluate("the labels are random, so there is nothing to learn")
    curve = loss_curve(evidence)
    quarter = len(curve.means) // 4
    before = float(curve.means[quarter : 2 * quarter].mean())
    limit = STUCK * curve.guess
    fall = 1 - curve.last / before if before > 0 else 0.0
    if curve.last < limit or fall > MIN_FALL:
        return
    spec = evidence.plan.spec
    yield rule.found(
        "warning",
        steps=evidence.recorded_span(0, len(evidence.step_loss) - 1),
        observed=curve.last,
        threshold=limit,
        confidence=confidence(
            math.log10(max(curve.last, limit) / limit) if limit > 0 else 0.0, 1.0, len(evidence.step_loss)
        ),
        explanation=f"The mean step_loss of the last quarter of the steps is {curve.last:.4g}, that of the first "
        f"twentieth is {curve.first:.4g}. {_guess_in_words(evidence, curve)} The loss of a network that learns is "
        f"below {limit:.4g}, which is {STUCK:.0%} of that, or falls by more than {MIN_FALL:.0%} from the second "
        f"quarter to the last; here it fell by {fall:.1%}.",
        remedies=(
            *remedies.rate(spec, 0.1, "with steps that are too large the loss cannot settle"),
            *remedies.scaled(spec),
            *remedies.better_activation(spec),
            *remedies.fitting_initializer(spec),
        ),
    )


def _reference(evidence: Evidence) -> str:
    regression = evidence.plan.objective.classes is None
    return "the mean loss of the first twentieth of the steps" if regression else "the loss of a guess"


def _guess_in_words(evidence: Evidence, curve: LossCurve) -> str:
    classes = evidence.plan.objective.classes
    if classes is None:
        return "For a regression the first twentieth is the reference."
    return f"A guess among {classes} classes has a loss of ln {classes} = {curve.guess:.3f}."


def _oscillating(rule: Rule, evidence: Evidence) -> Iterator[Finding]:
    loss = evidence.epochs.get("loss")
    if loss is None or len(loss) < MIN_EPOCHS:
        raise CannotEvaluate(f"fewer than {MIN_EPOCHS} epochs have ended")
    curve = loss_curve(evidence)
    values = loss[np.isfinite(loss)].astype(np.float64)
    changes = np.diff(values)
    rises = changes > MIN_RISE * values[:-1]
    climbed = float(changes[changes > 0].sum())
    climb = climbed / curve.guess / max(len(changes), 1) if curve.guess > 0 else 0.0
    if rises.sum() < MIN_RISES or not climb > MAX_CLIMB:
        return
    spec = evidence.plan.spec
    size = evidence.plan.work.steps_per_epoch
    at = np.flatnonzero(rises)
    yield rule.found(
        "warning",
        steps=evidence.recorded_span(int(at[0]) * size, (int(at[-1]) + 2) * size - 1),
        observed=climb,
        threshold=MAX_CLIMB,
        confidence=confidence(math.log10(climb / MAX_CLIMB), 1.0, len(values)),
        explanation=f"In {int(rises.sum())} of {len(changes)} epochs the training loss is more than {MIN_RISE:.0%} "
        f"above that of the previous epoch. All its rises add up to {climbed:.3g}; per epoch that is {climb:.1%} of "
        f"{_reference(evidence)}, {curve.guess:.3g}, and more than {MAX_CLIMB:.0%} counts as oscillation.",
        remedies=(
            *remedies.rate(spec, 0.1, "steps that jump across the valley settle in it if they are smaller"),
            *remedies.clipping(spec),
        ),
    )


def _overfitting(rule: Rule, evidence: Evidence) -> Iterator[Finding]:
    training, validation = evidence.epochs.get("loss"), evidence.epochs.get("val_loss")
    if training is None or validation is None or np.isnan(validation).all():
        raise CannotEvaluate("no epoch with validation samples has ended")
    if len(validation) < MIN_EPOCHS:
        raise CannotEvaluate(f"fewer than {MIN_EPOCHS} epochs have ended")
    if not np.isfinite(validation).all():
        return
    best = int(np.argmin(validation))
    tail = max(3, len(validation) // 4)
    if best >= len(validation) - tail:
        return
    end, least = float(validation[-tail:].min()), float(validation[best])
    scale = loss_curve(evidence).guess if evidence.plan.objective.classes else least
    falls = float(training[-1]) < float(training[best])
    gap = end - float(training[-1])
    threshold = max(MIN_EXCESS * scale, (MIN_EXCESS_OVER_BEST - 1) * least)
    if not (falls and min(end - least, gap) > threshold):
        return
    size = evidence.plan.work.steps_per_epoch
    yield rule.found(
        "warning",
        steps=evidence.recorded_span((best + 1) * size, len(validation) * size - 1),
        observed=end - least,
        threshold=threshold,
        confidence=confidence(math.log10((end - least) / threshold), 1.0, len(validation) - best),
        explanation=f"val_loss has its minimum, {least:.3g}, after epoch {best + 1}. In the last {tail} epochs it is "
        f"at least {end:.3g}, which is {end - least:.3g} more (more than {threshold:.3g} counts as overfitting), while "
        f"the training loss falls further, from {training[best]:.3g} to {training[-1]:.3g}: what the network has "
        "learned since holds for the training samples alone.",
        remedies=remedies.less_fitting(evidence.plan.spec),
    )


RULES = (
    Rule("not_finite", Symptom.DIVERGED, _diverged),
    Rule("no_better_than_guessing", Symptom.LOSS_NOT_DECREASING, _not_decreasing),
    Rule("loss_swings", Symptom.OSCILLATING_LOSS, _oscillating),
    Rule("validation_turns", Symptom.OVERFITTING, _overfitting),
)
