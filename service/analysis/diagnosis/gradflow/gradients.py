"""Vanishing and exploding gradients: by slope, by level, at a single layer, and from step to step."""

import math
from collections.abc import Iterator, Sequence

import numpy as np

from service.analysis.diagnosis import remedies
from service.analysis.diagnosis.evidence import Bools, Evidence
from service.analysis.diagnosis.gradflow.confidence import confidence
from service.analysis.diagnosis.gradflow.reach import Float64s, Reach, middle, reach_of, share
from service.analysis.diagnosis.gradflow.single_layer import flat_layers, single_layer
from service.analysis.diagnosis.rules import NotJudged, Rule
from service.analysis.diagnosis.values import Finding, Remedy, Symptom
from service.analysis.profile import line_slope
from service.contract.network.graph import Variable
from service.contract.recording_spec import Statistic

LEAST_REACH = -2.0  # decades: redrawing the kernel moves the output by a hundredth of what it should
LEAST_LOSS = 1.0  # decades below what the output itself gets
LONG, SHORTFALL = 0.25, 0.2  # of the judged steps; decades below LEAST_REACH, in the mean over all of them
MOST_DECADES = 10.0  # that one step counts for: a gradient of exactly 0 is as bad as a small one
LARGEST_REACH = 0.9
GROWTH = 1.25  # decades that the gradient gains on its way to the input, or since the first step
MOST = 0.5  # of the judged steps
RUNAWAY_LOSS = 3.0  # times the first loss
LOWEST = -300.0  # stands for a gradient of 0


def judged_reach(evidence: Evidence) -> Reach:
    """Of a run that has something to judge.

    Raises:
        NotJudged: it has no kernel, or no step with a finite gradient and something left to learn.
    """
    reach = evidence.once(reach_of)
    if not reach.kernels:
        raise NotJudged("the network has no kernel")
    if len(reach.steps) == 0:
        raise NotJudged("no step has a finite gradient and something left to learn")
    return reach


def starved(reach: Reach) -> tuple[Bools, Bools]:
    """Where hidden kernels get too little [kernels, steps], and which of them do so for long [kernels]."""
    low = (reach.reach < LEAST_REACH) & (reach.reach < reach.arriving - LEAST_LOSS)
    low[-1] = False  # the output kernel's gradient says how large the error is, not how far it gets
    return low, (share(low) > LONG) & (_shortfall(reach, low) > SHORTFALL)


def _shortfall(reach: Reach, low: Bools) -> Float64s:
    """Decades below LEAST_REACH, no more than MOST_DECADES of them, in the mean over all judged steps [kernels]."""
    return np.asarray(np.where(low, np.minimum(LEAST_REACH - reach.reach, MOST_DECADES), 0.0).mean(axis=1))


def growth(level: Float64s, signal: Float64s) -> float:
    """Decades gained on the way to the input, through the hidden kernels [kernels] or through the biases [biases]."""
    hidden = level[1:-1] if len(level) > 3 else level
    return max(_gained(hidden), _gained(signal[:-1]))


def explodes(reach: Reach) -> bool:
    """Whether the gradient grows towards the input, and is too large there at most of the steps."""
    loud = share(reach.reach > LARGEST_REACH) > MOST
    return bool(loud.any()) and growth(reach.level, reach.signal_level) >= GROWTH


def cut_off(reach: Reach) -> bool:
    """Whether the gradient is 0 from some layer down at once: units that are off, not a signal that fades."""
    hidden = reach.level[:-1]
    finite = hidden[np.isfinite(hidden)]
    return bool(len(hidden) and hidden[0] == -np.inf and (finite > LEAST_REACH - 2).all())


def _vanishing(rule: Rule, evidence: Evidence) -> Iterator[Finding]:
    reach = judged_reach(evidence)
    low, named = starved(reach)
    if not named.any():
        return
    named &= ~flat_layers(evidence, reach.kernels)
    then = reach.at(np.asarray(low[named].any(axis=0)))
    if not named.any() or cut_off(then):
        return  # which is said of the units
    culprit = single_layer(evidence, then)
    if culprit is not None and culprit.dead:
        return
    worst = int(np.argmax(np.where(named, _shortfall(reach, low), -1)))
    shortfall, part = float(_shortfall(reach, low)[worst]), float(share(low)[worst])
    norms, name = _norms(evidence, then, worst), reach.kernels[worst].layer
    where = (
        _slope_in_words(then.level)
        if culprit is None
        else f"It is lost at one place: from {culprit.above} to {culprit.below} the gradient of the {culprit.of} falls "
        f"by at least {culprit.decades:.1f} decades."
    )
    yield rule.found(
        "critical",
        layers=_layers(reach.kernels, named) if culprit is None else culprit.layers,
        steps=(int(then.steps[0]), int(then.steps[-1])),
        observed=shortfall,
        threshold=SHORTFALL,
        confidence=confidence(math.log10(shortfall / SHORTFALL), part, len(reach.steps)),
        explanation=f"The gradient of {_count(named)} hardly arrives. In {part:.0%} of the {len(reach.steps)} steps "
        f"judged (more than {LONG:.0%} is long) {name} has a reach below {power(LEAST_REACH)}, by {shortfall:.2g} "
        f"decades in the mean over all (more than {SHORTFALL:g} is far): such a layer has no say in what the network "
        f"answers. At the {len(then.steps)} steps at which that is so of any of them its median gradient_norm is "
        f"{norms[0]:.2e}, that of {reach.kernels[-1].layer} {norms[1]:.2e}; its reach, the norm over √fan-in and the "
        f"error of the output, is {power(then.level[worst])}. {where}",
        remedies=_against_vanishing(evidence),
    )


def _exploding(rule: Rule, evidence: Evidence) -> Iterator[Finding]:
    reach = judged_reach(evidence)
    if not explodes(reach):
        return
    high, gained = reach.reach > LARGEST_REACH, growth(reach.level, reach.signal_level)
    part = share(high)
    loud, worst = part > MOST, int(np.argmax(reach.level))
    norms = _norms(evidence, reach, worst)
    yield rule.found(
        "critical",
        layers=_layers(reach.kernels, loud),
        steps=_span(reach, high[loud]),
        observed=gained,
        threshold=GROWTH,
        confidence=confidence(gained - GROWTH, float(part[worst]), len(reach.steps)),
        explanation=f"The gradient grows by {gained:.1f} decades on its way from the output to the input, more than "
        f"{GROWTH:g}. {reach.kernels[worst].layer} has a median gradient_norm of {norms[0]:.2e}, "
        f"{reach.kernels[-1].layer} one of {norms[1]:.2e}; in {part[worst]:.0%} of the {len(reach.steps)} steps judged "
        f"the reach of {_count(loud)} is above {power(LARGEST_REACH)}: a small step turns the answers over.",
        remedies=against_exploding(evidence),
    )


def _running_away(rule: Rule, evidence: Evidence) -> Iterator[Finding]:
    reach = judged_reach(evidence)
    loss = evidence.step_loss[reach.steps].astype(np.float64)
    largest = reach.reach.max(axis=0)
    with np.errstate(over="ignore"):
        away = (largest > max(LARGEST_REACH, largest[0] + GROWTH)) & (loss > RUNAWAY_LOSS * loss[0])
    if not away[-1]:
        return
    kernel = int(np.argmax(reach.reach[:, -1]))
    grown = float(reach.reach[kernel, -1]) - max(float(reach.reach[kernel, 0]), LOWEST)
    norms = evidence.rows(Statistic.GRADIENT_NORM, "kernel").values[kernel]
    first, last = (int(np.searchsorted(evidence.steps, step)) for step in (reach.steps[0], reach.steps[-1]))
    yield rule.found(
        "critical",
        layers=_layers(reach.kernels, reach.reach[:, -1] > LARGEST_REACH),
        steps=(int(reach.steps[np.argmax(away)]), int(reach.steps[-1])),
        observed=grown,
        threshold=GROWTH,
        confidence=confidence(grown - GROWTH, 1.0, len(reach.steps)),
        explanation=f"The gradient grows from step to step, by {grown:.1f} decades (more than {GROWTH:g}): the "
        f"gradient_norm of {reach.kernels[kernel].layer} is {norms[first]:.2e} at step {reach.steps[0]} and "
        f"{norms[last]:.2e} at step {reach.steps[-1]}, while the loss goes from {loss[0]:.3g} to {loss[-1]:.3g}, more "
        f"than {RUNAWAY_LOSS:g} times as much. Each step overshoots further than the one before.",
        remedies=(
            *remedies.rate(evidence.plan.spec, 0.1, "a step that is small enough goes down, not across the valley"),
            *remedies.clipping(evidence.plan.spec),
        ),
    )


def _gained(level: Float64s) -> float:
    """Decades gained towards the input along a least-squares line; 0 with fewer than two finite values."""
    slope = line_slope(level)
    return 0.0 if slope is None else -slope * (len(level) - 1)


def _slope_in_words(level: Float64s) -> str:
    lost = -_gained(level[:-1]) / max(len(level) - 2, 1)
    if lost > 0.1:
        return f"It loses {lost:.2f} decades with every layer on its way to the input."
    return "It is lost at all depths alike: what the layers pass forward shrinks as fast as what comes back."


def _norms(evidence: Evidence, reach: Reach, kernel: int) -> Float64s:
    """Median gradient norm of a kernel, and of the last one, over the judged steps."""
    rows = evidence.rows(Statistic.GRADIENT_NORM, "kernel").values[[kernel, -1]]
    return middle(rows[:, np.isin(evidence.steps, reach.steps)])


def _layers(variables: Sequence[Variable], which: Bools) -> tuple[str, ...]:
    return tuple(dict.fromkeys(v.layer for v, so in zip(variables, which, strict=True) if so))


def _span(reach: Reach, mask: Bools) -> tuple[int, int]:
    places = np.flatnonzero(mask.any(axis=0))
    return int(reach.steps[places[0]]), int(reach.steps[places[-1]])


def _count(which: Bools) -> str:
    return f"{int(which.sum())} of {len(which)} kernels"


def power(decades: float) -> str:
    """Ten to this, as it is written in an explanation."""
    return "0" if decades <= LOWEST else f"10^{decades:.1f}"


def _against_vanishing(evidence: Evidence) -> tuple[Remedy, ...]:
    spec = evidence.plan.spec
    return (
        *remedies.better_activation(spec),
        *remedies.fitting_initializer(spec),
        *remedies.normalized(spec),
        *remedies.residual(spec),
        *remedies.shallower(spec),
    )


def against_exploding(evidence: Evidence) -> tuple[Remedy, ...]:
    """What keeps the gradient's size from layer to layer."""
    spec = evidence.plan.spec
    return (
        *remedies.scaled_residual(spec),
        *remedies.residual(spec),
        *remedies.fitting_initializer(spec),
        *remedies.normalized(spec),
        *remedies.clipping(spec),
        *remedies.shallower(spec),
    )


RULES = (
    Rule("reach_too_small", Symptom.VANISHING, _vanishing),
    Rule("gradient_grows_towards_input", Symptom.EXPLODING, _exploding),
    Rule("gradient_grows_from_step_to_step", Symptom.EXPLODING, _running_away),
)
