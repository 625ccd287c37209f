"""Vanishing and exploding gradients: over depth, at all depths alike, at a single layer, and from step to step."""

import math
from collections.abc import Iterator

import numpy as np

from service.analysis.diagnosis import remedies
from service.analysis.diagnosis.evidence import Bools, Evidence, layer_names
from service.analysis.diagnosis.gradflow.confidence import confidence
from service.analysis.diagnosis.gradflow.reach import Float64s, Reach, fraction_of_steps, median_over_steps, reach_of
from service.analysis.diagnosis.gradflow.signal_drop import flat_layers, signal_drop
from service.analysis.diagnosis.rules import CannotEvaluate, Rule
from service.analysis.diagnosis.values import Finding, Remedy, Symptom
from service.analysis.profile import line_slope
from service.contract.recording_spec import Statistic

# Thresholds are round numbers of this project; docs/diagnosis.md states on which runs they were chosen.
MIN_REACH = -2.0  # decades: redrawing the kernel moves the output by a hundredth of what it should
MIN_REACH_DROP = 1.0  # decades below the reach of the output layer
MIN_LOW_FRACTION = 0.25  # of the evaluated steps have a reach that is too small
MIN_SHORTFALL = 0.2  # decades below MIN_REACH, mean over all evaluated steps
MAX_STEP_SHORTFALL = 10.0  # decades that one step counts for, so that a gradient of exactly 0 does not dominate
MAX_CUT_OFF_LOSS = 2.0  # decades below MIN_REACH; a smaller reach that is not 0 means that the signal fades
MAX_REACH = 0.9  # decades: redrawing the kernel moves the output eight times as far as it should
MIN_GROWTH = 1.25  # decades that the gradient gains towards the input, or since the first step
MIN_LARGE_FRACTION = 0.5  # of the evaluated steps have a reach that is too large
RUNAWAY_LOSS = 3.0  # multiple of the first loss
VISIBLE_SLOPE = 0.1  # decades per layer from which an explanation mentions a slope
LOWEST = -300.0  # decades that represent a gradient of 0


def evaluated_reach(evidence: Evidence) -> Reach:
    """The reach of a run with at least one kernel and one evaluated step.

    Raises:
        CannotEvaluate: there is no kernel, or no step with a finite gradient and something left to learn.
    """
    reach = evidence.once(reach_of)
    if not reach.kernels:
        raise CannotEvaluate("the network has no kernel")
    if len(reach.steps) == 0:
        raise CannotEvaluate("no step has a finite gradient and something left to learn")
    return reach


def starved_kernels(reach: Reach) -> tuple[Bools, Bools]:
    """Hidden kernels whose gradient is too small.

    Returns:
        The steps at which the reach of a kernel is too small [kernels, steps], and the kernels for which this holds at
        enough steps and by a sufficient margin [kernels]. The output kernel is never among them: its gradient shows the
        size of the error alone.
    """
    low = (reach.reach < MIN_REACH) & (reach.reach < reach.at_output - MIN_REACH_DROP)
    low[-1] = False
    return low, (fraction_of_steps(low) > MIN_LOW_FRACTION) & (_shortfall(reach, low) > MIN_SHORTFALL)


def _shortfall(reach: Reach, low: Bools) -> Float64s:
    """Decades below MIN_REACH, at most MAX_STEP_SHORTFALL per step, mean over all evaluated steps [kernels]."""
    return np.asarray(np.where(low, np.minimum(MIN_REACH - reach.reach, MAX_STEP_SHORTFALL), 0.0).mean(axis=1))


def growth(level: Float64s, signal: Float64s) -> float:
    """Decades that the gradient gains on its way to the input, along the hidden kernels or along the biases.

    Args:
        level: reach of each kernel [kernels].
        signal: signal of each bias [biases].
    """
    hidden = level[1:-1] if len(level) > 3 else level
    return max(_gained(hidden), _gained(signal[:-1]))


def explodes(reach: Reach) -> bool:
    """Whether the gradient grows towards the input, and a kernel's reach is too large at most of the steps."""
    large = fraction_of_steps(reach.reach > MAX_REACH) > MIN_LARGE_FRACTION
    return bool(large.any()) and growth(reach.level, reach.signal_level) >= MIN_GROWTH


def is_cut_off(reach: Reach) -> bool:
    """Whether the gradient is exactly 0 below some layer and sound above it: inactive units, not a fading signal."""
    hidden = reach.level[:-1]
    finite = hidden[np.isfinite(hidden)]
    return bool(len(hidden) and hidden[0] == -np.inf and (finite > MIN_REACH - MAX_CUT_OFF_LOSS).all())


def _vanishing(rule: Rule, evidence: Evidence) -> Iterator[Finding]:
    reach = evaluated_reach(evidence)
    low, named = starved_kernels(reach)
    if not named.any():
        return
    named &= ~flat_layers(evidence, reach.kernels)
    then = reach.at(np.asarray(low[named].any(axis=0)))
    if not named.any() or is_cut_off(then):
        return  # the rules for units report these
    drop = signal_drop(evidence, then)
    if drop is not None and drop.dead:
        return
    worst = int(np.argmax(np.where(named, _shortfall(reach, low), -1)))
    shortfall, fraction = float(_shortfall(reach, low)[worst]), float(fraction_of_steps(low)[worst])
    norms, name = _norms(evidence, then, worst), reach.kernels[worst].layer
    where = (
        _slope_in_words(then.level)
        if drop is None
        else f"It is lost at one place: from {drop.above} to {drop.below} the gradient of the {drop.of} falls by at "
        f"least {drop.decades:.1f} decades."
    )
    yield rule.found(
        "critical",
        layers=layer_names(reach.kernels, named) if drop is None else drop.layers,
        steps=(int(then.steps[0]), int(then.steps[-1])),
        observed=shortfall,
        threshold=MIN_SHORTFALL,
        confidence=confidence(math.log10(shortfall / MIN_SHORTFALL), fraction, len(reach.steps)),
        explanation=f"Too little of the gradient arrives at {_count(named)}. In {fraction:.0%} of the "
        f"{len(reach.steps)} evaluated steps, which is more than {MIN_LOW_FRACTION:.0%}, {name} has a reach below "
        f"{power(MIN_REACH)}, by a mean of {shortfall:.2g} decades over all steps, which is more than "
        f"{MIN_SHORTFALL:g}: such a layer barely influences the output. At the {len(then.steps)} steps at which this "
        f"holds for any of them, its median gradient_norm is {norms[0]:.2e} and that of {reach.kernels[-1].layer} is "
        f"{norms[1]:.2e}. Its reach, the norm divided by √fan-in and the error of the output, is "
        f"{power(then.level[worst])}. {where}",
        remedies=_against_vanishing(evidence),
    )


def _exploding(rule: Rule, evidence: Evidence) -> Iterator[Finding]:
    reach = evaluated_reach(evidence)
    if not explodes(reach):
        return
    high, gained = reach.reach > MAX_REACH, growth(reach.level, reach.signal_level)
    fractions = fraction_of_steps(high)
    large, worst = fractions > MIN_LARGE_FRACTION, int(np.argmax(reach.level))
    norms = _norms(evidence, reach, worst)
    yield rule.found(
        "critical",
        layers=layer_names(reach.kernels, large),
        steps=_span(reach, high[large]),
        observed=gained,
        threshold=MIN_GROWTH,
        confidence=confidence(gained - MIN_GROWTH, float(fractions[worst]), len(reach.steps)),
        explanation=f"The gradient grows by {gained:.1f} decades on its way from the output to the input, more than "
        f"{MIN_GROWTH:g}. The median gradient_norm of {reach.kernels[worst].layer} is {norms[0]:.2e}, that of "
        f"{reach.kernels[-1].layer} is {norms[1]:.2e}. In {fractions[worst]:.0%} of the {len(reach.steps)} evaluated "
        f"steps the reach of {_count(large)} is above {power(MAX_REACH)}: a small step changes the predictions "
        "drastically.",
        remedies=against_exploding(evidence),
    )


def _running_away(rule: Rule, evidence: Evidence) -> Iterator[Finding]:
    reach = evaluated_reach(evidence)
    loss = evidence.step_loss[reach.steps].astype(np.float64)
    largest = reach.reach.max(axis=0)
    with np.errstate(over="ignore"):
        away = (largest > max(MAX_REACH, largest[0] + MIN_GROWTH)) & (loss > RUNAWAY_LOSS * loss[0])
    if not away[-1]:
        return
    kernel = int(np.argmax(reach.reach[:, -1]))
    grown = float(reach.reach[kernel, -1]) - max(float(reach.reach[kernel, 0]), LOWEST)
    norms = evidence.rows(Statistic.GRADIENT_NORM, "kernel").values[kernel]
    first, last = (int(np.searchsorted(evidence.steps, step)) for step in (reach.steps[0], reach.steps[-1]))
    yield rule.found(
        "critical",
        layers=layer_names(reach.kernels, reach.reach[:, -1] > MAX_REACH),
        steps=(int(reach.steps[np.argmax(away)]), int(reach.steps[-1])),
        observed=grown,
        threshold=MIN_GROWTH,
        confidence=confidence(grown - MIN_GROWTH, 1.0, len(reach.steps)),
        explanation=f"The gradient grows from step to step, by {grown:.1f} decades in all (more than {MIN_GROWTH:g}). "
        f"The gradient_norm of {reach.kernels[kernel].layer} is {norms[first]:.2e} at step {reach.steps[0]} and "
        f"{norms[last]:.2e} at step {reach.steps[-1]}, while the loss goes from {loss[0]:.3g} to {loss[-1]:.3g}, more "
        f"than {RUNAWAY_LOSS:g} times as much. Each step overshoots further than the one before.",
        remedies=(
            *remedies.rate(evidence.plan.spec, 0.1, "a smaller step descends instead of jumping across the valley"),
            *remedies.clipping(evidence.plan.spec),
        ),
    )


def _gained(level: Float64s) -> float:
    """Decades gained towards the input along a least-squares line; 0 with fewer than two finite values."""
    slope = line_slope(level)
    return 0.0 if slope is None else -slope * (len(level) - 1)


def _slope_in_words(level: Float64s) -> str:
    lost = -_gained(level[:-1]) / max(len(level) - 2, 1)
    if lost > VISIBLE_SLOPE:
        return f"The gradient loses {lost:.2f} decades with every layer on its way to the input."
    return "The gradient is small at all depths alike: the forward signal shrinks as fast as the backward signal."


def _norms(evidence: Evidence, reach: Reach, kernel: int) -> Float64s:
    """Median gradient norm of a kernel and of the last kernel [2], over the evaluated steps."""
    rows = evidence.rows(Statistic.GRADIENT_NORM, "kernel").values[[kernel, -1]]
    return median_over_steps(rows[:, np.isin(evidence.steps, reach.steps)])


def _span(reach: Reach, mask: Bools) -> tuple[int, int]:
    """The first and the last step at which a mask [kernels, steps] is set."""
    indices = np.flatnonzero(mask.any(axis=0))
    return int(reach.steps[indices[0]]), int(reach.steps[indices[-1]])


def _count(chosen: Bools) -> str:
    return f"{int(chosen.sum())} of {len(chosen)} kernels"


def power(decades: float) -> str:
    """Ten to the power of `decades`, as explanations write it."""
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
    """Remedies that preserve the size of the gradient from layer to layer."""
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
