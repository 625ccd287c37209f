"""A network that starts badly: with a loss far above a guess, or with a gradient that hardly arrives."""

import math
from collections.abc import Iterator

import numpy as np

from service.analysis.diagnosis import remedies
from service.analysis.diagnosis.evidence import Evidence
from service.analysis.diagnosis.gradflow.confidence import confidence
from service.analysis.diagnosis.gradflow.gradients import LEAST_REACH, LOWEST, judged_reach, power, starved
from service.analysis.diagnosis.rules import NotJudged, Rule
from service.analysis.diagnosis.values import Finding, Symptom
from service.contract.recording_spec import Statistic

EXPLAINED = 0.2  # of the decades that are missing: what theory may be off by and still be the reason
ABOVE_GUESS = 5.0  # times the loss of a fair guess


def _first_loss(rule: Rule, evidence: Evidence) -> Iterator[Finding]:
    classes = evidence.plan.objective.classes
    if classes is None or classes < 2:
        raise NotJudged("the loss of a guess is known of classes only")
    if len(evidence.step_loss) == 0 or not np.isfinite(evidence.step_loss[0]):
        raise NotJudged("the first loss is not finite")
    guess, first = math.log(classes), float(evidence.step_loss[0])
    tenth = math.ceil(evidence.plan.work.total_steps / 10)
    if len(evidence.step_loss) <= tenth:
        raise NotJudged("the first tenth of the run is not over")
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
        remedies=(*remedies.scaled(spec), *remedies.scaled_residual(spec), *remedies.fitting_initialiser(spec)),
    )


def _first_profile(rule: Rule, evidence: Evidence) -> Iterator[Finding]:
    reach = judged_reach(evidence)
    if reach.steps[0] != 0 or len(reach.kernels) < 2:
        raise NotJudged("the network was not recorded as initialised, or has one kernel")
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
        confidence=confidence(LEAST_REACH - level, 1.0, 9),
        explanation=f"Before the first update {int(faint.sum())} of {len(faint)} kernels have a reach below "
        f"{power(LEAST_REACH)}, and training does not mend it: at step 0 {reach.kernels[worst].layer} has a "
        f"gradient_norm of {norms[worst]:.2e} and a reach of "
        f"{power(level)}.{_of_theory(evidence, reach.kernels[worst].name, float(norms[worst]), level)}",
        remedies=(
            *remedies.fitting_initialiser(evidence.plan.spec),
            *remedies.better_activation(evidence.plan.spec),
            *remedies.normalised(evidence.plan.spec),
        ),
    )


def _of_theory(evidence: Evidence, name: str, norm: float, level: float) -> str:
    """Whether this initialisation must give a norm like this at step 0, where theory knows."""
    found = [layer for layer in evidence.prediction.layers if layer.name == name] if evidence.prediction else []
    if not found or norm <= 0:
        return ""
    predicted, spread = found[0].log10_norm, found[0].spread
    said = f"theory predicts a norm of 10^{predicted:.1f} ± {spread:.1f} there for this initialisation"
    if abs(math.log10(norm) - predicted) <= max(2 * spread, EXPLAINED * abs(level)):
        return f" That is how it was drawn: {said}."
    return f" It is not the initialisation alone: {said}."


RULES = (
    Rule("first_loss", Symptom.POOR_INITIALISATION, _first_loss),
    Rule("first_profile", Symptom.POOR_INITIALISATION, _first_profile),
)
