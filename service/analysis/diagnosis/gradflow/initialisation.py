"""A network that starts badly: with a loss far above a guess, or with a gradient that hardly arrives."""

import math
from collections.abc import Iterator

import numpy as np

from service.analysis.diagnosis import remedies
from service.analysis.diagnosis.evidence import Evidence
from service.analysis.diagnosis.gradflow.confidence import confidence
from service.analysis.diagnosis.gradflow.gradients import LEAST_REACH, LOWEST, judged_reach, starved
from service.analysis.diagnosis.rules import NotJudged, Rule
from service.analysis.diagnosis.values import Finding, Symptom
from service.contract.recording_spec import Statistic

ABOVE_GUESS = 5.0  # times the loss of a fair guess
WIDEST = np.finfo(np.float64).max


def _first_loss(rule: Rule, evidence: Evidence) -> Iterator[Finding]:
    classes = evidence.plan.objective.classes
    if classes is None or classes < 2:
        raise NotJudged("the loss of a guess is known of classes only")
    if len(evidence.step_loss) < 2 or not np.isfinite(evidence.step_loss[0]):
        raise NotJudged("fewer than two steps were made, or the first loss is not finite")
    guess, first = math.log(classes), float(evidence.step_loss[0])
    tenth = math.ceil(len(evidence.step_loss) / 10)
    later = float(np.mean(evidence.step_loss[tenth : 2 * tenth], dtype=np.float64))
    if first < ABOVE_GUESS * guess or later < guess:
        return
    spec = evidence.plan.spec
    yield rule.found(
        "warning",
        steps=evidence.recorded(0, 0),
        observed=first,
        threshold=ABOVE_GUESS * guess,
        confidence=confidence(math.log10(first / (ABOVE_GUESS * guess)), 1.0, 9),
        explanation=f"Before the first update the loss is {first:.3g}; who guesses among {classes} classes has ln "
        f"{classes} = {guess:.3f}. The network is sure of wrong answers, for its inputs or its weights are too large, "
        f"and unlearns that first: over the second tenth of the steps the mean loss is still {later:.3g}.",
        remedies=(*remedies.scaled(spec), *remedies.residual(spec), *remedies.fitting_initialiser(spec)),
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
        f"10^{LEAST_REACH:g}, and training does not mend it: at step 0 {reach.kernels[worst].layer} has a "
        f"gradient_norm of {norms[worst]:.2e} and a reach of 10^{level:.1f}.{_of_theory(evidence)}",
        remedies=(
            *remedies.fitting_initialiser(evidence.plan.spec),
            *remedies.better_activation(evidence.plan.spec),
            *remedies.normalised(evidence.plan.spec),
        ),
    )


def _of_theory(evidence: Evidence) -> str:
    """Whether this initialisation must give what was measured at step 0."""
    if evidence.prediction is None or evidence.steps[0] != 0:
        return ""
    predicted = {layer.name: layer for layer in evidence.prediction.layers}
    rows = evidence.rows(Statistic.GRADIENT_NORM, "kernel")
    with np.errstate(divide="ignore"):
        measured = np.log10(rows.values[:, 0].astype(np.float64))
    off = [
        (float(value) - predicted[v.name].log10_norm, predicted[v.name].spread)
        for v, value in zip(rows.variables, measured, strict=True)
        if v.name in predicted and np.isfinite(value)
    ]
    if not off:
        return ""
    apart = math.sqrt(sum(d * d for d, _ in off) / len(off))
    spread = math.sqrt(sum(s * s for _, s in off) / len(off))
    slope = evidence.prediction.slope
    lost = "" if slope is None else f", {slope:.2f} decades lost a layer"
    if apart <= max(2 * spread, 0.2):
        return f" Theory predicts just that for this initialisation{lost} (profiles {apart:.2f} decades apart)."
    return f" Theory predicts another profile{lost} ({apart:.2f} decades apart): it is not the initialisation alone."


RULES = (
    Rule("first_loss", Symptom.POOR_INITIALISATION, _first_loss),
    Rule("first_profile", Symptom.POOR_INITIALISATION, _first_profile),
)
