"""What the loss alone tells: that it does not fall, swings, ends in NaN, or falls for the training rows only."""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from service.analysis.diagnosis import remedies
from service.analysis.diagnosis.evidence import Evidence
from service.analysis.diagnosis.gradflow.confidence import confidence
from service.analysis.diagnosis.rules import NotJudged, Rule
from service.analysis.diagnosis.values import Finding, Symptom
from service.contract.data_spec import RandomData

FEWEST_STEPS = 30
BLOCKS = 20
STUCK = 0.95  # of the loss of a fair guess
TREND = 0.01  # of the loss: a fall between the second quarter and the last
SWING, AGAIN = 0.2, 2  # of the epoch before; so many times
CLIMB = 0.03  # of the loss of a fair guess, an epoch, in the mean over all of them
FEWEST_EPOCHS = 5
RISE = 0.15  # of the loss of a fair guess, above the best epoch
RISE_OVER_BEST = 1.2


@dataclass(frozen=True, eq=False)
class Course:
    """The loss of a run, thinned to the means of equal parts."""

    means: npt.NDArray[np.float64]  # [parts]
    guess: float  # the loss of an answer that knows nothing of the row; the first loss where that is not known

    @property
    def last(self) -> float:
        """The mean of the last quarter."""
        return float(self.means[-max(1, len(self.means) // 4) :].mean())

    @property
    def first(self) -> float:
        """The mean of the first part."""
        return float(self.means[0])


def course_of(evidence: Evidence) -> Course:
    """Of the finite losses so far.

    Raises:
        NotJudged: there are too few of them.
    """
    loss = evidence.step_loss[np.isfinite(evidence.step_loss)].astype(np.float64)
    if len(loss) < FEWEST_STEPS:
        raise NotJudged(f"fewer than {FEWEST_STEPS} steps were made")
    means = np.array([part.mean() for part in np.array_split(loss, BLOCKS)])
    classes = evidence.plan.objective.classes
    guess = math.log(classes) if classes is not None and classes > 1 else float(means[0])
    return Course(means, guess)


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
        steps=evidence.recorded(at, max(at, len(evidence.step_loss) - 1)),
        observed=len(broken),
        threshold=0,
        explanation=f"Loss or gradient is NaN or infinite from step {at} on{before} (step_loss in the metrics, "
        "first_nonfinite_step with the gradients).",
        remedies=(
            *remedies.rate(spec, 0.1, "steps that are too large overshoot further each time"),
            *remedies.clipping(spec),
            *remedies.scaled(spec),
            *remedies.fitting_initializer(spec),
        ),
    )


def _not_decreasing(rule: Rule, evidence: Evidence) -> Iterator[Finding]:
    if isinstance(evidence.plan.spec.data, RandomData):
        raise NotJudged("the labels are random: there is nothing that the loss could fall for")
    course = course_of(evidence)
    quarter = len(course.means) // 4
    before = float(course.means[quarter : 2 * quarter].mean())
    limit = STUCK * course.guess
    fall = 1 - course.last / before if before > 0 else 0.0
    if course.last < limit or fall > TREND:
        return
    spec = evidence.plan.spec
    yield rule.found(
        "warning",
        steps=evidence.recorded(0, len(evidence.step_loss) - 1),
        observed=course.last,
        threshold=limit,
        confidence=confidence(
            math.log10(max(course.last, limit) / limit) if limit > 0 else 0.0, 1.0, len(evidence.step_loss)
        ),
        explanation=f"The mean step_loss of the last quarter is {course.last:.4g}, of the first twentieth "
        f"{course.first:.4g}. {_guess_in_words(evidence, course)} It would have to be below {limit:.4g}, {STUCK:.0%} "
        f"of that, or to fall by more than {TREND:.0%} from the second quarter to the last; it fell by {fall:.1%}.",
        remedies=(
            *remedies.rate(spec, 0.1, "if steps are too large, the loss cannot settle"),
            *remedies.scaled(spec),
            *remedies.better_activation(spec),
            *remedies.fitting_initializer(spec),
        ),
    )


def _reference(evidence: Evidence) -> str:
    return "the first loss" if evidence.plan.objective.classes is None else "the loss of a guess"


def _guess_in_words(evidence: Evidence, course: Course) -> str:
    classes = evidence.plan.objective.classes
    if classes is None:
        return "Nothing else being known, it is measured by the latter."
    return f"Who guesses among {classes} classes has ln {classes} = {course.guess:.3f}."


def _oscillating(rule: Rule, evidence: Evidence) -> Iterator[Finding]:
    loss = evidence.epochs.get("loss")
    if loss is None or len(loss) < FEWEST_EPOCHS:
        raise NotJudged(f"fewer than {FEWEST_EPOCHS} epochs have ended")
    course = course_of(evidence)
    values = loss[np.isfinite(loss)].astype(np.float64)
    steps = np.diff(values)
    rises = steps > SWING * values[:-1]
    climbed = float(steps[steps > 0].sum())
    climb = climbed / course.guess / max(len(steps), 1) if course.guess > 0 else 0.0
    if rises.sum() < AGAIN or not climb > CLIMB:
        return
    spec = evidence.plan.spec
    size = evidence.plan.work.steps_per_epoch
    at = np.flatnonzero(rises)
    yield rule.found(
        "warning",
        steps=evidence.recorded(int(at[0]) * size, (int(at[-1]) + 2) * size - 1),
        observed=climb,
        threshold=CLIMB,
        confidence=confidence(math.log10(climb / CLIMB), 1.0, len(values)),
        explanation=f"In {int(rises.sum())} of {len(steps)} epochs the training loss is more than {SWING:.0%} above "
        f"that of the epoch before. All that it climbs adds up to {climbed:.3g}; an epoch that is {climb:.1%} of "
        f"{course.guess:.3g}, {_reference(evidence)}, and more than {CLIMB:.0%} is much.",
        remedies=(
            *remedies.rate(spec, 0.1, "steps that jump over the valley come to rest when they are shorter"),
            *remedies.clipping(spec),
        ),
    )


def _overfitting(rule: Rule, evidence: Evidence) -> Iterator[Finding]:
    training, validation = evidence.epochs.get("loss"), evidence.epochs.get("val_loss")
    if training is None or validation is None or np.isnan(validation).all():
        raise NotJudged("no epoch with validation rows has ended")
    if len(validation) < FEWEST_EPOCHS:
        raise NotJudged(f"fewer than {FEWEST_EPOCHS} epochs have ended")
    if not np.isfinite(validation).all():
        return
    best = int(np.argmin(validation))
    tail = max(3, len(validation) // 4)
    if best >= len(validation) - tail:
        return
    end, least = float(validation[-tail:].min()), float(validation[best])
    scale = course_of(evidence).guess if evidence.plan.objective.classes else least
    falls = float(training[-1]) < float(training[best])
    gap = end - float(training[-1])
    threshold = max(RISE * scale, (RISE_OVER_BEST - 1) * least)
    if not (falls and min(end - least, gap) > threshold):
        return
    size = evidence.plan.work.steps_per_epoch
    yield rule.found(
        "warning",
        steps=evidence.recorded((best + 1) * size, len(validation) * size - 1),
        observed=end - least,
        threshold=threshold,
        confidence=confidence(math.log10((end - least) / threshold), 1.0, len(validation) - best),
        explanation=f"val_loss is least, {least:.3g}, after epoch {best + 1}, and no less than {end:.3g} in the last "
        f"{tail} epochs, {end - least:.3g} more (more than {threshold:.3g} is much), while the training loss goes on "
        f"from {training[best]:.3g} to {training[-1]:.3g}: what is learnt since holds for the training rows only.",
        remedies=remedies.less_fitting(evidence.plan.spec),
    )


RULES = (
    Rule("not_finite", Symptom.DIVERGED, _diverged),
    Rule("no_better_than_guessing", Symptom.LOSS_NOT_DECREASING, _not_decreasing),
    Rule("loss_swings", Symptom.OSCILLATING_LOSS, _oscillating),
    Rule("validation_turns", Symptom.OVERFITTING, _overfitting),
)
