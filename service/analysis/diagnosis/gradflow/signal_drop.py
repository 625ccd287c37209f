"""Localization of a vanishing gradient: the single layer at which the backward signal drops, if it is one layer."""

from dataclasses import dataclass

import numpy as np

from service.analysis.diagnosis.evidence import Bools, Evidence
from service.analysis.diagnosis.gradflow.reach import Reach, median_over_steps
from service.contract.network.graph import Variable
from service.contract.recording_spec import Statistic

MIN_DROP = 0.8  # decades between neighboring layers, in addition to twice the usual loss per layer
SUSPECT_FRACTION = 0.3  # fraction of a layer's units that are flat, from which that layer is named
MAJORITY = 0.5  # fraction of a layer's units
SMALL_WEIGHTS = 0.5  # weights are small below this multiple of the median of the other layers, large above its inverse
LOWEST = -300.0  # decades that represent a signal of 0
BOUNDED = frozenset({"sigmoid", "tanh", "softsign", "hard_sigmoid", "hard_tanh"})  # bounded activations


@dataclass(frozen=True)
class SignalDrop:
    """A drop of the backward signal between two neighboring layers."""

    layers: tuple[str, ...]  # the layer at fault, or both if the recorded statistics do not tell which
    above: str  # the layer nearer to the output
    below: str  # the layer nearer to the input
    decades: float  # from the smallest signal above to the largest below
    of: str  # biases, or kernels if too few layers have a bias
    dead: bool  # whether most units of the layer below are dead


def signal_drop(evidence: Evidence, reach: Reach) -> SignalDrop | None:
    """The drop of the backward signal, if it is at one place.

    All signals on the input side must be below all signals on the output side, by MIN_DROP more than twice the usual
    loss per layer. The signal at the bias of a layer is lost either in that layer's activation, which is flat, or in
    the kernel above, which is small.

    Args:
        evidence: the run.
        reach: its reach at the steps to look at.

    Returns:
        The drop; None if there is none, or if there are fewer than three layers.
    """
    biased = len(reach.biases) > 2
    variables, level = (reach.biases, reach.signal_level) if biased else (reach.kernels, reach.level)
    level = np.maximum(level, LOWEST)
    if len(level) < 3:
        return None
    below = np.maximum.accumulate(level)[:-1]
    above = np.minimum.accumulate(level[::-1])[::-1][1:]
    drops = above - below
    at = int(np.argmax(drops))
    usual = max(float(np.median(np.delete(np.diff(level), at))), 0.0)
    if not drops[at] > MIN_DROP + 2 * usual:
        return None
    lower, upper = variables[at], variables[at + 1]
    dead = evidence.once(dead_fractions).get(lower.depth, 0.0) > MAJORITY
    layers = _layers_at_fault(evidence, reach, lower, upper)
    of = "biases" if biased else "kernels"
    return SignalDrop(layers, upper.layer, lower.layer, float(drops[at]), of, dead)


def flat_layers(evidence: Evidence, kernels: tuple[Variable, ...]) -> Bools:
    """For each kernel [kernels], whether most outputs of its layer are where the activation is flat."""
    fractions = evidence.once(saturated_fractions)
    return np.array([fractions.get(kernel.depth, 0.0) > MAJORITY for kernel in kernels], bool)


def _layers_at_fault(evidence: Evidence, reach: Reach, lower: Variable, upper: Variable) -> tuple[str, ...]:
    """The layer that causes a drop between two neighbors; both, the more likely first, if it is not known."""
    by_name = evidence.plan.network.by_name
    squashed = by_name[lower.layer].activation in BOUNDED and by_name[upper.layer].activation not in BOUNDED
    flat = max(evidence.once(fractions).get(lower.depth, 0.0) for fractions in (saturated_fractions, dead_fractions))
    if flat > SUSPECT_FRACTION or squashed:
        return (lower.layer,)
    gains = _gains(evidence)
    others = [gain for layer, gain in gains.items() if layer not in (lower.layer, upper.layer)]
    usual = float(np.median(others)) if others else np.nan
    if gains.get(upper.layer, np.nan) < SMALL_WEIGHTS * usual:
        return (upper.layer,)
    if gains.get(lower.layer, np.nan) > usual / SMALL_WEIGHTS:
        return (lower.layer,)
    level = dict(zip((variable.layer for variable in reach.kernels), reach.level, strict=True))
    if level.get(upper.layer, -np.inf) > level.get(lower.layer, -np.inf) + MIN_DROP:
        return (upper.layer, lower.layer)
    return (lower.layer, upper.layer)


def saturated_fractions(evidence: Evidence) -> dict[int, float]:
    """Depth of a layer -> median over the steps of its saturated_fraction; empty if it was not recorded."""
    return _medians(evidence, Statistic.SATURATED_FRACTION)


def dead_fractions(evidence: Evidence) -> dict[int, float]:
    """Depth of a layer -> median over the steps of its dead_fraction; empty if it was not recorded."""
    return _medians(evidence, Statistic.DEAD_FRACTION)


def _medians(evidence: Evidence, statistic: Statistic) -> dict[int, float]:
    """Depth of a layer -> median over the steps; the largest if several activations have the same depth."""
    if statistic not in evidence.series:
        return {}
    rows = evidence.rows(statistic)
    medians = np.nan_to_num(median_over_steps(rows.values), nan=0.0)
    by_size = sorted(zip(rows.variables, medians, strict=True), key=lambda pair: pair[1])
    return {variable.depth: float(median) for variable, median in by_size}


def _gains(evidence: Evidence) -> dict[str, float]:
    """Layer -> standard deviation of its weights at the first recorded step times √fan-in, if it was recorded."""
    for statistic in (Statistic.WEIGHT_VARIANCE, Statistic.WEIGHT_NORM):
        if statistic in evidence.series:
            rows = evidence.rows(statistic, "kernel")
            first = rows.values[:, 0].astype(np.float64)
            entries, units = (np.array([f(v) for v in rows.variables]) for f in (_entries, _units))
            from_variance = statistic is Statistic.WEIGHT_VARIANCE
            gains = np.sqrt(first * entries / units) if from_variance else first / np.sqrt(units)
            return {v.layer: float(gain) for v, gain in zip(rows.variables, gains, strict=True)}
    return {}


def _entries(variable: Variable) -> float:
    return float(np.prod(variable.shape))


def _units(variable: Variable) -> float:
    return float(variable.shape[-1])
