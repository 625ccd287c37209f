"""Poor initialization: a first loss far above that of a guess, or first gradients that are too small or too large."""

import math
from collections.abc import Iterator

import numpy as np

from service.analysis.diagnosis import remedies
from service.analysis.diagnosis.evidence import Evidence, layer_names
from service.analysis.diagnosis.gradflow.confidence import confidence
from service.analysis.diagnosis.gradflow.gradients import (
    LOWEST,
    MAX_REACH,
    MIN_GROWTH,
    MIN_REACH,
    against_exploding,
    evaluated_reach,
    explodes,
    growth,
    power,
    starved_kernels,
)
from service.analysis.diagnosis.gradflow.loss import loss_curve
from service.analysis.diagnosis.gradflow.updates import UNLEARNED
from service.analysis.diagnosis.rules import CannotEvaluate, Rule
from service.analysis.diagnosis.values import Finding, Symptom
from service.contract.recording_spec import Statistic

# Thresholds are round numbers of this project; docs/diagnosis.md states on which runs they were chosen.
ABOVE_GUESS = 5.0  # multiple of the loss of a guess among equally likely classes
GRACE_PARTS = 10  # the first of this many equal parts of the run may repair a poor initialization
EXPLAINED = 0.2  # fraction of the missing decades by which theory may be off and still explain them
STEPS_OF_FIRST = 9  # number of steps that step 0 counts for in a confidence, since theory predicts its profile


def _first_loss(rule: Rule, evidence: Evidence) -> Iterator[Finding]:
    classes = evidence.plan.objective.classes
    if classes is None or classes < 2:
        raise CannotEvaluate("the loss of a guess is known for classes only")
    if len(evidence.step_loss) == 0 or not np.isfinite(evidence.step_loss[0]):
        raise CannotEvaluate("the first loss is not finite")
    guess, first = math.log(classes), float(evidence.step_loss[0])
    tenth = _grace_steps(evidence)
    later = float(np.mean(evidence.step_loss[tenth : 2 * tenth], dtype=np.float64))
    if first < ABOVE_GUESS * guess or later < guess:
        return
    spec = evidence.plan.spec
    yield rule.found(
        "warning",
        steps=evidence.recorded_span(0, 0),
        observed=first,
        threshold=ABOVE_GUESS * guess,
        confidence=confidence(math.log10(first / (ABOVE_GUESS * guess)), 1.0, tenth),
        explanation=f"Before the first update the loss is {first:.3g}, more than {ABOVE_GUESS:g} times the loss of a "
        f"guess among {classes} classes, ln {classes} = {guess:.3f}. The network makes confident wrong predictions "
        "because its inputs or its weights are too large, and has to unlearn them first: the mean loss over the second "
        f"tenth of the steps is still {later:.3g}.",
        remedies=(*remedies.scaled(spec), *remedies.scaled_residual(spec), *remedies.fitting_initializer(spec)),
    )


def _first_profile(rule: Rule, evidence: Evidence) -> Iterator[Finding]:
    reach = evaluated_reach(evidence)
    if reach.steps[0] != 0 or len(reach.kernels) < 2:
        raise CannotEvaluate("step 0 was not evaluated, or the network has a single kernel")
    first = reach.reach[:, 0]
    low, starved = starved_kernels(reach)
    faint = low[:, 0] & starved
    if not faint.any():
        return
    worst = int(np.argmin(np.where(faint, first, np.inf)))
    level = max(float(first[worst]), LOWEST)
    norms = evidence.rows(Statistic.GRADIENT_NORM, "kernel").values[:, 0]
    yield rule.found(
        "warning",
        layers=layer_names(reach.kernels, faint),
        steps=(0, 0),
        observed=level,
        threshold=MIN_REACH,
        confidence=confidence(MIN_REACH - level, 1.0, STEPS_OF_FIRST),
        explanation=f"Before the first update {int(faint.sum())} of {len(faint)} kernels have a reach below "
        f"{power(MIN_REACH)}, and training does not repair this: at step 0 {reach.kernels[worst].layer} has a "
        f"gradient_norm of {norms[worst]:.2e} and a reach of "
        f"{power(level)}.{_of_theory(evidence, reach.kernels[worst].name, float(norms[worst]), level)}",
        remedies=(
            *remedies.fitting_initializer(evidence.plan.spec),
            *remedies.better_activation(evidence.plan.spec),
            *remedies.normalized(evidence.plan.spec),
        ),
    )


def _grace_steps(evidence: Evidence) -> int:
    """Number of steps in which training may repair the initialization; CannotEvaluate before they are over."""
    tenth = math.ceil(evidence.plan.work.total_steps / GRACE_PARTS)
    if len(evidence.step_loss) <= tenth:
        raise CannotEvaluate("the first tenth of the run is not over")
    return tenth


def _first_growth(rule: Rule, evidence: Evidence) -> Iterator[Finding]:
    """An explosion that conceals itself: its first updates are so large that later gradients are sound.

    If a normalization follows, the gradient is inversely proportional to the size of the weights (van Laarhoven 2017,
    arXiv:1706.05350), and each update makes the weights larger. Without one, units die or saturate.
    """
    reach, curve = evaluated_reach(evidence), loss_curve(evidence)
    if reach.steps[0] != 0 or len(reach.kernels) < 2:
        raise CannotEvaluate("step 0 was not evaluated, or the network has a single kernel")
    _grace_steps(evidence)
    high, first = reach.reach > MAX_REACH, reach.reach[:, 0]
    gained, begun = growth(first, reach.signal[:, 0]), min(curve.first, curve.guess)
    if explodes(reach) or not high[:, 0].any() or gained < MIN_GROWTH or curve.last < UNLEARNED * begun:
        return
    quiet = np.flatnonzero(~high.any(axis=0))
    last = int(quiet[0]) - 1 if len(quiet) else -1
    worst, median = int(np.argmax(first)), max(float(reach.level.max()), LOWEST)
    norms = evidence.rows(Statistic.GRADIENT_NORM, "kernel").values[:, 0]
    yield rule.found(
        "critical",
        layers=layer_names(reach.kernels, high[:, 0]),
        steps=(0, int(reach.steps[last])),
        observed=gained,
        threshold=MIN_GROWTH,
        confidence=confidence(gained - MIN_GROWTH, 1.0, STEPS_OF_FIRST),
        explanation=f"Before the first update the gradient grows by {gained:.1f} decades on its way from the output to "
        f"the input, more than {MIN_GROWTH:g}: at step 0 {reach.kernels[worst].layer} has a gradient_norm of "
        f"{norms[worst]:.2e}, {reach.kernels[-1].layer} one of {norms[-1]:.2e}, and the reach of "
        f"{int(high[:, 0].sum())} of {len(first)} kernels is above {power(MAX_REACH)}. The first updates, made with "
        f"this gradient, move the weights far away. Later the gradient is smaller, with a median reach of "
        f"{power(median)} at most, but more than {UNLEARNED:.0%} of the loss is left: the mean step_loss of the last "
        f"quarter of the steps is {curve.last:.4g}, and that of the first twentieth, or of a guess if that is less, is "
        f"{begun:.4g}.{_of_theory(evidence, reach.kernels[worst].name, float(norms[worst]), float(first[worst]))}",
        remedies=against_exploding(evidence),
    )


def _of_theory(evidence: Evidence, name: str, norm: float, level: float) -> str:
    """A sentence on whether theory predicts this gradient norm for the initialization; empty without a prediction."""
    found = [layer for layer in evidence.prediction.layers if layer.name == name] if evidence.prediction else []
    if not found or norm <= 0:
        return ""
    predicted, spread = found[0].log10_norm, found[0].spread
    quoted = f"theory predicts a norm of 10^{predicted:.1f} ± {spread:.1f} there for this initialization"
    if abs(math.log10(norm) - predicted) <= max(2 * spread, EXPLAINED * abs(level)):
        return f" The initialization explains it: {quoted}."
    return f" The initialization alone does not explain it: {quoted}."


RULES = (
    Rule("first_loss", Symptom.POOR_INITIALIZATION, _first_loss),
    Rule("first_profile", Symptom.POOR_INITIALIZATION, _first_profile),
    Rule("first_growth", Symptom.EXPLODING, _first_growth),
)
