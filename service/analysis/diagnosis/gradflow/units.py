"""Units that pass no gradient: dead units and saturated outputs."""

import math
from collections.abc import Iterator

import numpy as np

from service.analysis.diagnosis import remedies
from service.analysis.diagnosis.evidence import Evidence, Rows
from service.analysis.diagnosis.gradflow.confidence import confidence
from service.analysis.diagnosis.gradflow.gradients import evaluated_reach, is_cut_off
from service.analysis.diagnosis.gradflow.reach import Reach, fraction_of_steps, median_over_steps
from service.analysis.diagnosis.rules import CannotEvaluate, Rule, recorded_range
from service.analysis.diagnosis.values import Finding, Remedy, Symptom
from service.contract.recording_spec import Statistic

# Thresholds are round numbers of this project; docs/diagnosis.md states on which runs they were chosen.
MAX_DEAD_FRACTION = 0.5  # fraction of a layer's units
DEAD_END = 0.1  # last fraction of the recorded steps that is evaluated: dead units stay dead
MAX_SATURATED_FRACTION = 0.5  # fraction of a layer's outputs
SATURATED_END = 0.25  # last fraction of the recorded steps that is evaluated
MAJORITY = 0.5  # fraction of the evaluated steps
RECTIFIERS = frozenset(  # activations with a flat part, whose units can die
    {"relu", "relu6", "prelu", "hard_sigmoid", "hard_silu", "hard_swish", "hard_shrink", "soft_shrink"}
)


def _dead(rule: Rule, evidence: Evidence) -> Iterator[Finding]:
    for statistic in (Statistic.INACTIVE_UNITS, Statistic.DEAD_FRACTION):
        if statistic in evidence.series:
            rows = evidence.rows(statistic)
            found = _at_the_end(rule, evidence, rows, statistic, MAX_DEAD_FRACTION, DEAD_END)
            if found is not None:
                yield found
            return
    rectified = any((node.activation or "") in RECTIFIERS for node in evidence.plan.network.hidden_activations)
    if not rectified:
        return
    reach = evaluated_reach(evidence)
    if not is_cut_off(reach):
        raise CannotEvaluate("single dead units show in dead_fraction only", Statistic.DEAD_FRACTION)
    layer = _last_silent_layer(reach)
    fraction = float(fraction_of_steps(reach.reach == -np.inf)[0])
    yield rule.found(
        "critical",
        layers=(layer,),
        steps=recorded_range(evidence),
        observed=1.0,
        threshold=MAX_DEAD_FRACTION,
        confidence=confidence(0.0, fraction, len(reach.steps)),
        explanation=f"The gradient_norm of {reach.kernels[0].layer} is exactly 0 in {fraction:.0%} of the "
        f"{len(reach.steps)} evaluated steps, and so are those of {layer} and of all layers below it: each unit of "
        f"{layer} is inactive for every sample and passes no gradient back.",
        remedies=_against_dead(evidence),
    )


def _last_silent_layer(reach: Reach) -> str:
    """The layer at which the gradient becomes 0: its bias has no gradient, the bias above has one."""
    biases = np.flatnonzero(reach.signal_level == -np.inf)
    if len(biases):
        return reach.biases[int(biases[-1])].layer
    return reach.kernels[int(np.flatnonzero(reach.level == -np.inf)[-1])].layer


def _saturated(rule: Rule, evidence: Evidence) -> Iterator[Finding]:
    rows = evidence.rows(Statistic.SATURATED_FRACTION)
    statistic = Statistic.SATURATED_FRACTION
    found = _at_the_end(rule, evidence, rows, statistic, MAX_SATURATED_FRACTION, SATURATED_END)
    if found is not None:
        yield found


def _at_the_end(
    rule: Rule, evidence: Evidence, rows: Rows, statistic: Statistic, threshold: float, end: float
) -> Finding | None:
    """A finding if a fraction is above its threshold at most of the last recorded steps.

    Args:
        rule: the rule of the finding, for dead units or for saturation.
        evidence: the run.
        rows: fractions of units or outputs.
        statistic: their statistic.
        threshold: largest sound fraction.
        end: last fraction of the recorded steps that is evaluated.
    """
    beyond = rows.values > threshold
    first = beyond.shape[1] - math.ceil(end * beyond.shape[1])
    named = fraction_of_steps(beyond[:, first:]) > MAJORITY
    if not named.any():
        return None
    level = np.zeros(len(named))
    level[named] = median_over_steps(np.clip(np.nan_to_num(rows.values[named, first:]), 0, 1))
    worst = int(np.argmax(level))
    fraction = float(fraction_of_steps(beyond[worst, first:]))
    at = np.flatnonzero(beyond[named].any(axis=0))
    dead = rule.symptom is Symptom.DEAD_UNITS
    what = "units are never active" if dead else "outputs are where the activation is flat"
    return rule.found(
        "critical",
        layers=rows.layers(named),
        steps=(int(evidence.steps[at[0]]), int(evidence.steps[at[-1]])),
        observed=float(level[worst]),
        threshold=threshold,
        confidence=confidence(float(np.log10(level[worst] / threshold)), fraction, beyond.shape[1] - first),
        explanation=f"In {rows.variables[worst].layer} {level[worst]:.1%} of the {what} ({statistic}, median over the "
        f"last {beyond.shape[1] - first} recorded steps), and more than {threshold:.0%} in {fraction:.0%} of these "
        f"steps; they pass no gradient. This holds for {int(named.sum())} of {len(named)} layers.",
        remedies=_against_dead(evidence) if dead else _against_saturation(evidence),
    )


def _against_dead(evidence: Evidence) -> tuple[Remedy, ...]:
    spec = evidence.plan.spec
    return (
        *remedies.leaky(spec),
        *remedies.fitting_initializer(spec),
        *remedies.scaled(spec),
        *remedies.rate(spec, 0.1, "a single large step can push the inputs of a unit below 0 for every sample"),
    )


def _against_saturation(evidence: Evidence) -> tuple[Remedy, ...]:
    spec = evidence.plan.spec
    return (
        *remedies.fitting_initializer(spec),
        *remedies.scaled(spec),
        *remedies.normalized(spec),
        *remedies.better_activation(spec),
        *remedies.rate(spec, 0.1, "large steps make large weights, which saturate units"),
    )


RULES = (
    Rule("dead_units", Symptom.DEAD_UNITS, _dead),
    Rule("saturated_outputs", Symptom.SATURATION, _saturated, (Statistic.SATURATED_FRACTION,)),
)
