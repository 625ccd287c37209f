"""Units that do nothing: dead ones, and saturated ones."""

import math
from collections.abc import Iterator

import numpy as np

from service.analysis.diagnosis import remedies
from service.analysis.diagnosis.evidence import Evidence, Rows
from service.analysis.diagnosis.gradflow.confidence import confidence
from service.analysis.diagnosis.gradflow.gradients import cut_off, judged_reach
from service.analysis.diagnosis.gradflow.reach import Reach, middle, share
from service.analysis.diagnosis.rules import NotJudged, Rule, whole
from service.analysis.diagnosis.values import Finding, Remedy, Symptom
from service.contract.recording_spec import Statistic

DEAD_PART, DEAD_END = 0.5, 0.1  # of a layer's units; of the recorded steps, as the dead stay dead
SATURATED_PART, SATURATED_END = 0.5, 0.25  # of a layer's outputs; of the recorded steps
MOST = 0.5  # of these last steps
RECTIFIERS = frozenset(
    {"relu", "relu6", "prelu", "hard_sigmoid", "hard_silu", "hard_swish", "hard_shrink", "soft_shrink"}
)


def _dead(rule: Rule, evidence: Evidence) -> Iterator[Finding]:
    for statistic in (Statistic.INACTIVE_UNITS, Statistic.DEAD_FRACTION):
        if statistic in evidence.series:
            rows = evidence.rows(statistic)
            found = _at_the_end(rule, evidence, rows, statistic, DEAD_PART, DEAD_END)
            if found is not None:
                yield found
            return
    rectified = any((node.activation or "") in RECTIFIERS for node in evidence.plan.network.hidden_activations)
    if not rectified:
        return
    reach = judged_reach(evidence)
    if not cut_off(reach):
        raise NotJudged("single dead units show in dead_fraction only", Statistic.DEAD_FRACTION)
    layer = _last_silent(reach)
    part = float(share(reach.reach == -np.inf)[0])
    yield rule.found(
        "critical",
        layers=(layer,),
        steps=whole(evidence),
        observed=1.0,
        threshold=DEAD_PART,
        confidence=confidence(0.0, part, len(reach.steps)),
        explanation=f"The gradient_norm of {reach.kernels[0].layer} is exactly 0 in {part:.0%} of the "
        f"{len(reach.steps)} steps judged, and so is all that comes from {layer} down: each of its units is off for "
        "every row, and passes nothing back.",
        remedies=_against_dead(evidence),
    )


def _last_silent(reach: Reach) -> str:
    """The layer at which the gradient becomes 0: its bias gets none, the one above does."""
    biases = np.flatnonzero(reach.signal_level == -np.inf)
    if len(biases):
        return reach.biases[int(biases[-1])].layer
    return reach.kernels[int(np.flatnonzero(reach.level == -np.inf)[-1])].layer


def _saturated(rule: Rule, evidence: Evidence) -> Iterator[Finding]:
    rows = evidence.rows(Statistic.SATURATED_FRACTION)
    found = _at_the_end(rule, evidence, rows, Statistic.SATURATED_FRACTION, SATURATED_PART, SATURATED_END)
    if found is not None:
        yield found


def _at_the_end(
    rule: Rule, evidence: Evidence, rows: Rows, statistic: Statistic, threshold: float, end: float
) -> Finding | None:
    beyond = rows.values > threshold
    last = beyond.shape[1] - math.ceil(end * beyond.shape[1])
    named = share(beyond[:, last:]) > MOST
    if not named.any():
        return None
    level = np.zeros(len(named))
    level[named] = middle(np.clip(np.nan_to_num(rows.values[named, last:]), 0, 1))
    worst = int(np.argmax(level))
    part = float(share(beyond[worst, last:]))
    at = np.flatnonzero(beyond[named].any(axis=0))
    what = "never active" if rule.symptom is Symptom.DEAD_UNITS else "where the activation is flat"
    things = "units" if rule.symptom is Symptom.DEAD_UNITS else "outputs"
    return rule.found(
        "critical",
        layers=rows.layers(named),
        steps=(int(evidence.steps[at[0]]), int(evidence.steps[at[-1]])),
        observed=float(level[worst]),
        threshold=threshold,
        confidence=confidence(float(np.log10(level[worst] / threshold)), part, beyond.shape[1] - last),
        explanation=f"In {rows.variables[worst].layer} {level[worst]:.1%} of the {things} are {what} ({statistic}, "
        f"median over the last {beyond.shape[1] - last} recorded steps), and more than {threshold:.0%} in {part:.0%} "
        f"of these; no gradient passes them. Layers like that: {int(named.sum())} of {len(named)}.",
        remedies=_against_dead(evidence) if rule.symptom is Symptom.DEAD_UNITS else _against_saturation(evidence),
    )


def _against_dead(evidence: Evidence) -> tuple[Remedy, ...]:
    spec = evidence.plan.spec
    return (
        *remedies.leaky(spec),
        *remedies.fitting_initializer(spec),
        *remedies.scaled(spec),
        *remedies.rate(spec, 0.1, "one large step can push a unit below 0 for every row"),
    )


def _against_saturation(evidence: Evidence) -> tuple[Remedy, ...]:
    spec = evidence.plan.spec
    return (
        *remedies.fitting_initializer(spec),
        *remedies.scaled(spec),
        *remedies.normalized(spec),
        *remedies.better_activation(spec),
        *remedies.rate(spec, 0.1, "large steps make large weights, and these saturate units"),
    )


RULES = (
    Rule("dead_units", Symptom.DEAD_UNITS, _dead),
    Rule("saturated_outputs", Symptom.SATURATION, _saturated, (Statistic.SATURATED_FRACTION,)),
)
