"""A network that starts badly: its loss far above a guess, its gradient too small to arrive, or too large to bear."""

import math
from collections.abc import Iterator

import numpy as np

from service.analysis.diagnosis import remedies
from service.analysis.diagnosis.evidence import Evidence
from service.analysis.diagnosis.gradflow.confidence import confidence
from service.analysis.diagnosis.gradflow.gradients import (
    GROWTH,
    LARGEST_REACH,
    LEAST_REACH,
    LOWEST,
    against_exploding,
    explodes,
    growth,
    judged_reach,
    power,
    starved,
)
from service.analysis.diagnosis.gradflow.loss import course_of
from service.analysis.diagnosis.gradflow.updates import UNLEARNT
from service.analysis.diagnosis.rules import NotJudged, Rule
from service.analysis.diagnosis.values import Finding, Symptom
from service.contract.recording_spec import Statistic

EXPLAINED = 0.2  # of the decades that are missing: what theory may be off by and still be the reason
ABOVE_GUESS = 5.0  # times the loss of a fair guess
ONE_STEP = 9  # counts for so many in how sure a finding is: it is the one at which theory knows the profile


def _first_loss(rule: Rule, evidence: Evidence) -> Iterator[Finding]:
    classes = evidence.plan.objective.classes
    if classes is None or classes < 2:
        raise NotJudged("the loss of a guess is known of classes only")
    if len(evidence.step_loss) == 0 or not np.isfinite(evidence.step_loss[0]):
        raise NotJudged("the first loss is not finite")
    guess, first = math.log(classes), float(evidence.step_loss[0])
    tenth = _first_tenth(evidence)
    later = float(np.mean(evidence.step_loss[tenth : 2 * tenth], dtype=np.float64))
    if first < ABOVE_GUESS * guess or later < guess:
        return
    spec = evidence.plan.spec
    yield rule.found(
        "warning",
        steps=evidence.recorded(0, 0),
        observed=first,
        threshold=ABOVE_GUESS * guess,
        confidence=confidence(math.log10(first / (ABOVE_GUESS * guess)), 1.0, tenth),
        explanation=f"Before the first update the loss is {first:.3g}, more than {ABOVE_GUESS:g} times what a guess "
        f"among {classes} classes has, ln {classes} = {guess:.3f}. The network is sure of wrong answers, for its "
        "inputs or its weights are too large, and unlearns that first: over the second tenth of the steps the mean "
        f"loss is still {later:.3g}.",
        remedies=(*remedies.scaled(spec), *remedies.scaled_residual(spec), *remedies.fitting_initializer(spec)),
    )


def _first_profile(rule: Rule, evidence: Evidence) -> Iterator[Finding]:
    reach = judged_reach(evidence)
    if reach.steps[0] != 0 or len(reach.kernels) < 2:
        raise NotJudged("the network was not recorded as initialized, or has one kernel")
    first = reach.reach[:, 0]
    low, long = starved(reach)
    faint = low[:, 0] & long
    if not faint.any():
        return
    worst = int(np.argmin(np.where(faint, first, np.inf)))
    level = max(float(first[worst]), LOWEST)
    norms = evidence.rows(Statistic.GRADIENT_NORM, "kernel").values[:, 0]
    yield rule.found(
        "warning",
        layers=tuple(dict.fromkeys(v.layer for v, so in zip(reach.kernels, faint, strict=True) if so)),
        steps=(0, 0),
        observed=level,
        threshold=LEAST_REACH,
        confidence=confidence(LEAST_REACH - level, 1.0, ONE_STEP),
        explanation=f"Before the first update {int(faint.sum())} of {len(faint)} kernels have a reach below "
        f"{power(LEAST_REACH)}, and training does not mend it: at step 0 {reach.kernels[worst].layer} has a "
        f"gradient_norm of {norms[worst]:.2e} and a reach of "
        f"{power(level)}.{_of_theory(evidence, reach.kernels[worst].name, float(norms[worst]), level)}",
        remedies=(
            *remedies.fitting_initializer(evidence.plan.spec),
            *remedies.better_activation(evidence.plan.spec),
            *remedies.normalized(evidence.plan.spec),
        ),
    )


def _first_tenth(evidence: Evidence) -> int:
    """The steps that a network is given to mend what it began with; NotJudged before they are over."""
    tenth = math.ceil(evidence.plan.work.total_steps / 10)
    if len(evidence.step_loss) <= tenth:
        raise NotJudged("the first tenth of the run is not over")
    return tenth


def _first_growth(rule: Rule, evidence: Evidence) -> Iterator[Finding]:
    """An explosion that hides itself: its first updates are so large that the gradient is another from there on.

    Where normalization follows, the gradient is inversely proportional to the size of the weights (van Laarhoven 2017,
    arXiv:1706.05350), and those grow with every update; without it units die or saturate.
    """
    reach, course = judged_reach(evidence), course_of(evidence)
    if reach.steps[0] != 0 or len(reach.kernels) < 2:
        raise NotJudged("the network was not recorded as initialized, or has one kernel")
    _first_tenth(evidence)
    high, first = reach.reach > LARGEST_REACH, reach.reach[:, 0]
    gained, begun = growth(first, reach.signal[:, 0]), min(course.first, course.guess)
    if explodes(reach) or not high[:, 0].any() or gained < GROWTH or course.last < UNLEARNT * begun:
        return
    quiet = np.flatnonzero(~high.any(axis=0))
    last = int(quiet[0]) - 1 if len(quiet) else -1
    worst, middle = int(np.argmax(first)), max(float(reach.level.max()), LOWEST)
    norms = evidence.rows(Statistic.GRADIENT_NORM, "kernel").values[:, 0]
    yield rule.found(
        "critical",
        layers=tuple(dict.fromkeys(v.layer for v, so in zip(reach.kernels, high[:, 0], strict=True) if so)),
        steps=(0, int(reach.steps[last])),
        observed=gained,
        threshold=GROWTH,
        confidence=confidence(gained - GROWTH, 1.0, ONE_STEP),
        explanation=f"Before the first update the gradient grows by {gained:.1f} decades on its way from the output to "
        f"the input, more than {GROWTH:g}: at step 0 {reach.kernels[worst].layer} has a gradient_norm of "
        f"{norms[worst]:.2e}, {reach.kernels[-1].layer} one of {norms[-1]:.2e}, and the reach of "
        f"{int(high[:, 0].sum())} of {len(first)} kernels is above {power(LARGEST_REACH)}. The first updates, made "
        f"with it, throw the weights far off. From there on it is smaller, with a median reach of {power(middle)} at "
        f"most, but more than {UNLEARNT:.0%} of the loss is left: the mean step_loss of the last quarter of the steps "
        f"is {course.last:.4g}, that of the first twentieth, or of a guess where this is less, {begun:.4g}."
        f"{_of_theory(evidence, reach.kernels[worst].name, float(norms[worst]), float(first[worst]))}",
        remedies=against_exploding(evidence),
    )


def _of_theory(evidence: Evidence, name: str, norm: float, level: float) -> str:
    """Whether this initialization must give a norm like this at step 0, where theory knows."""
    found = [layer for layer in evidence.prediction.layers if layer.name == name] if evidence.prediction else []
    if not found or norm <= 0:
        return ""
    predicted, spread = found[0].log10_norm, found[0].spread
    said = f"theory predicts a norm of 10^{predicted:.1f} ± {spread:.1f} there for this initialization"
    if abs(math.log10(norm) - predicted) <= max(2 * spread, EXPLAINED * abs(level)):
        return f" That is how it was drawn: {said}."
    return f" It is not the initialization alone: {said}."


RULES = (
    Rule("first_loss", Symptom.POOR_INITIALIZATION, _first_loss),
    Rule("first_profile", Symptom.POOR_INITIALIZATION, _first_profile),
    Rule("first_growth", Symptom.EXPLODING, _first_growth),
)
