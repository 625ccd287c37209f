"""Vanishing and exploding gradients: by slope, by level, and at a single layer."""

from collections.abc import Iterator, Sequence

import numpy as np

from service.analysis.diagnosis import remedies
from service.analysis.diagnosis.evidence import Evidence
from service.analysis.diagnosis.gradflow.confidence import confidence
from service.analysis.diagnosis.gradflow.reach import Float64s, Reach, middle, reach_of, share
from service.analysis.diagnosis.gradflow.single_layer import single_layer
from service.analysis.diagnosis.rules import NotJudged, Rule
from service.analysis.diagnosis.values import Finding, Remedy, Symptom
from service.contract.network.graph import Variable
from service.contract.recording_spec import Statistic

LEAST_REACH = -2.0  # decades: redrawing the kernel moves the output by a hundredth of what it should
LEAST_LOSS = 1.0  # decades below what the output itself gets
LARGEST_REACH = 1.0
GROWTH = 1.5  # decades that the gradient gains on its way to the input
MOST = 0.5  # of the judged steps


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


def _vanishing(rule: Rule, evidence: Evidence) -> Iterator[Finding]:
    reach = judged_reach(evidence)
    level, low = middle(reach.reach), reach.reach < LEAST_REACH
    part = share(low)
    faint = (part > MOST) & (level < _top(reach) - LEAST_LOSS)
    faint[-1] = False  # the output kernel's gradient says how large the error is, not how far it gets
    if not faint.any() or cut_off(reach):
        return
    worst = int(np.argmin(np.where(faint, level, np.inf)))
    culprit = single_layer(evidence, reach)
    norms = _norms(evidence, reach)
    words = [
        f"The gradient of {_count(faint, 'kernel')} hardly arrives, in {part[worst]:.0%} of the {len(reach.steps)} "
        f"steps judged. {reach.kernels[worst].layer} has a median gradient_norm of {norms[worst]:.2e}, "
        f"{reach.kernels[-1].layer} one of {norms[-1]:.2e}. Over √fan-in and the error of the output, the reach of "
        f"{reach.kernels[worst].layer} is {_power(level[worst])}; below {_power(LEAST_REACH)} a layer has no say in what "
        "the network answers."
    ]
    if culprit is not None:
        words.append(
            f"It is lost at one place: from {culprit.above} to {culprit.below} the gradient of the biases falls by "
            f"{culprit.decades:.1f} decades."
        )
    else:
        words.append(_slope_in_words(level, reach))
    yield rule.found(
        "critical",
        layers=_layers(reach.kernels, faint) if culprit is None else culprit.layers,
        steps=_span(reach, low[faint].any(axis=0)),
        observed=max(level[worst], -300.0),
        threshold=LEAST_REACH,
        confidence=confidence(LEAST_REACH - max(level[worst], -300.0), float(part[worst]), len(reach.steps)),
        explanation=" ".join(filter(None, words)),
        remedies=_against_vanishing(evidence),
    )


def _exploding(rule: Rule, evidence: Evidence) -> Iterator[Finding]:
    reach = judged_reach(evidence)
    level = middle(reach.reach)
    hidden = slice(1, -1) if len(level) > 3 else slice(0, len(level))
    signal = middle(reach.signal)
    gained = max(_gain(level[hidden]), _gain(signal[:-1]))
    high = reach.reach > LARGEST_REACH
    part = share(high)
    loud = part > MOST
    if not loud.any() or gained < GROWTH:
        return
    worst = int(np.argmax(level))
    norms = _norms(evidence, reach)
    yield rule.found(
        "critical",
        layers=_layers(reach.kernels, loud),
        steps=_span(reach, high[loud].any(axis=0)),
        observed=gained,
        threshold=GROWTH,
        confidence=confidence(gained - GROWTH, float(part[worst]), len(reach.steps)),
        explanation=f"The gradient grows by {gained:.1f} decades on its way from the output to the input, more than "
        f"{GROWTH:g}. {reach.kernels[worst].layer} has a median gradient_norm of {norms[worst]:.2e}, "
        f"{reach.kernels[-1].layer} one of {norms[-1]:.2e}; in {part[worst]:.0%} of the {len(reach.steps)} steps judged "
        f"the reach of {_count(loud, 'kernel')} is above {_power(LARGEST_REACH)}: a small step turns the answers over.",
        remedies=_against_exploding(evidence),
    )


def _top(reach: Reach) -> float:
    """Decades of what arrives at the output layer itself: at its kernel, or at its bias if that is more."""
    arrived = [middle(reach.reach)[-1]]
    if reach.biases:
        arrived.append(middle(reach.signal)[-1])
    return float(max(arrived))


def cut_off(reach: Reach) -> bool:
    """Whether hidden kernels get no gradient at all at once: units that are off, not a signal that fades."""
    hidden = middle(reach.reach)[:-1]
    finite = np.isfinite(hidden)
    return bool(len(hidden) and not finite[0] and (not finite.any() or hidden[finite].min() > LEAST_REACH - 2))


def _gain(level: Float64s) -> float:
    """Decades gained towards the input along a least-squares line; 0 with fewer than two finite values."""
    usable = np.isfinite(level)
    if usable.sum() < 2:
        return 0.0
    places = np.arange(len(level))
    return float(-np.polyfit(places[usable], level[usable], 1)[0] * (len(level) - 1))


def _slope_in_words(level: Float64s, reach: Reach) -> str:
    usable = np.isfinite(level[:-1])
    if usable.sum() < 2:
        return ""
    lost = -_gain(level[:-1]) / (len(level) - 2)
    if lost > 0.1:
        return f"It loses {lost:.2f} decades with every layer on its way to the input."
    return "It is lost at all depths alike: what the layers pass forward shrinks as fast as what comes back."


def _norms(evidence: Evidence, reach: Reach) -> Float64s:
    """Median gradient norm of each kernel over the judged steps."""
    rows = evidence.rows(Statistic.GRADIENT_NORM, "kernel")
    return middle(rows.values[:, np.isin(evidence.steps, reach.steps)])


def _layers(variables: Sequence[Variable], which: np.typing.NDArray[np.bool_]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(v.layer for v, so in zip(variables, which, strict=True) if so))


def _span(reach: Reach, at: np.typing.NDArray[np.bool_]) -> tuple[int, int]:
    places = np.flatnonzero(at)
    return int(reach.steps[places[0]]), int(reach.steps[places[-1]])


def _count(which: np.typing.NDArray[np.bool_], noun: str) -> str:
    return f"{int(which.sum())} of {len(which)} {noun}s"


def _power(decades: float) -> str:
    return "0" if not np.isfinite(decades) else f"10^{decades:.1f}"


def _against_vanishing(evidence: Evidence) -> tuple[Remedy, ...]:
    spec = evidence.plan.spec
    return (
        *remedies.better_activation(spec),
        *remedies.fitting_initialiser(spec),
        *remedies.normalised(spec),
        *remedies.residual(spec),
        *remedies.shallower(spec),
    )


def _against_exploding(evidence: Evidence) -> tuple[Remedy, ...]:
    spec = evidence.plan.spec
    return (
        *remedies.residual(spec),
        *remedies.fitting_initialiser(spec),
        *remedies.normalised(spec),
        *remedies.clipping(spec),
        *remedies.shallower(spec),
    )


RULES = (
    Rule("reach_too_small", Symptom.VANISHING, _vanishing),
    Rule("gradient_grows_towards_input", Symptom.EXPLODING, _exploding),
)
