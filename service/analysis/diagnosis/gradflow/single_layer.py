"""Which single layer it is, where the backward signal falls at one place and not along the way."""

from dataclasses import dataclass

import numpy as np

from service.analysis.diagnosis.evidence import Bools, Evidence
from service.analysis.diagnosis.gradflow.reach import Reach, middle
from service.contract.network.graph import Variable
from service.contract.recording_spec import Statistic

STEP = 0.8  # decades between neighbors, beyond twice what the others lose
FLAT_PART, MOSTLY = 0.3, 0.5  # of a layer's units
SMALL_WEIGHTS = 0.5  # of the others' size
BOUNDED = frozenset({"sigmoid", "tanh", "softsign", "hard_sigmoid", "hard_tanh"})


@dataclass(frozen=True)
class Culprit:
    """Between the layer `above` and the one `below` it, the signal loses so many decades at once."""

    layers: tuple[str, ...]  # the one, or both where what was recorded does not tell which
    above: str
    below: str
    decades: float  # from the least above to the largest below
    of: str  # biases, or kernels where too few layers have one
    dead: bool  # the units below are off


def single_layer(evidence: Evidence, reach: Reach) -> Culprit | None:
    """The layer at which the signal falls, if it falls at one place alone.

    All signals on the input's side must lie below all on the output's side, by a step beyond the usual one. The signal
    at a layer's bias is lost either in its own activation, which is flat, or in the kernel above, which is small.
    """
    biased = len(reach.biases) > 2
    variables, level = (reach.biases, reach.signal_level) if biased else (reach.kernels, reach.level)
    level = np.maximum(level, -300)
    if len(level) < 3:
        return None
    below = np.maximum.accumulate(level)[:-1]
    above = np.minimum.accumulate(level[::-1])[::-1][1:]
    drops = above - below
    at = int(np.argmax(drops))
    usual = max(float(np.median(np.delete(np.diff(level), at))), 0.0)
    if not drops[at] > STEP + 2 * usual:
        return None
    lower, upper = variables[at], variables[at + 1]
    dead = evidence.once(dead_parts).get(lower.depth, 0.0) > MOSTLY
    layers = _which(evidence, reach, lower, upper)
    of = "biases" if biased else "kernels"
    return Culprit(layers, upper.layer, lower.layer, float(drops[at]), of, dead)


def flat_layers(evidence: Evidence, kernels: tuple[Variable, ...]) -> Bools:
    """Which kernels' layers [kernels] have most outputs where the activation is flat."""
    parts = evidence.once(saturated_parts)
    return np.array([parts.get(kernel.depth, 0.0) > MOSTLY for kernel in kernels], bool)


def _which(evidence: Evidence, reach: Reach, lower: Variable, upper: Variable) -> tuple[str, ...]:
    by_name = evidence.plan.network.by_name
    squashed = by_name[lower.layer].activation in BOUNDED and by_name[upper.layer].activation not in BOUNDED
    flat = max(evidence.once(parts).get(lower.depth, 0.0) for parts in (saturated_parts, dead_parts))
    if flat > FLAT_PART or squashed:
        return (lower.layer,)
    gains = _gains(evidence)
    others = [gain for layer, gain in gains.items() if layer not in (lower.layer, upper.layer)]
    usual = float(np.median(others)) if others else np.nan
    if gains.get(upper.layer, np.nan) < SMALL_WEIGHTS * usual:
        return (upper.layer,)
    if gains.get(lower.layer, np.nan) > usual / SMALL_WEIGHTS:
        return (lower.layer,)
    level = dict(zip((variable.layer for variable in reach.kernels), reach.level, strict=True))
    if level.get(upper.layer, -np.inf) > level.get(lower.layer, -np.inf) + STEP:
        return (upper.layer, lower.layer)
    return (lower.layer, upper.layer)


def saturated_parts(evidence: Evidence) -> dict[int, float]:
    """By depth, the part of outputs where the activation is flat, at the median step."""
    return _parts(evidence, Statistic.SATURATED_FRACTION)


def dead_parts(evidence: Evidence) -> dict[int, float]:
    """By depth, the part of units that are 0 for all rows of the batch, at the median step."""
    return _parts(evidence, Statistic.DEAD_FRACTION)


def _parts(evidence: Evidence, statistic: Statistic) -> dict[int, float]:
    if statistic not in evidence.series:
        return {}
    rows = evidence.rows(statistic)
    parts = np.nan_to_num(middle(rows.values), nan=0.0)
    return {row.depth: float(part) for row, part in sorted(zip(rows.variables, parts, strict=True), key=lambda r: r[1])}


def _gains(evidence: Evidence) -> dict[str, float]:
    """Of each kernel, the deviation of its weights at the first recorded step times √fan-in, as far as it is known."""
    for statistic in (Statistic.WEIGHT_VARIANCE, Statistic.WEIGHT_NORM):
        if statistic in evidence.series:
            rows = evidence.rows(statistic, "kernel")
            first = rows.values[:, 0].astype(np.float64)
            size, units = (np.array([f(v) for v in rows.variables]) for f in (_entries, _units))
            gains = np.sqrt(first * size / units) if statistic is Statistic.WEIGHT_VARIANCE else first / np.sqrt(units)
            return {v.layer: float(gain) for v, gain in zip(rows.variables, gains, strict=True)}
    return {}


def _entries(variable: Variable) -> float:
    return float(np.prod(variable.shape))


def _units(variable: Variable) -> float:
    return float(variable.shape[-1])
