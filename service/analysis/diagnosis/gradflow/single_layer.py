"""Which single layer it is, where the backward signal falls at one place and not along the way."""

from dataclasses import dataclass

import numpy as np

from service.analysis.diagnosis.evidence import Evidence
from service.analysis.diagnosis.gradflow.reach import Float64s, Reach
from service.contract.recording_spec import Statistic

STEP = 0.8  # decades between neighbours beyond what the others lose on average
FLAT_PART = 0.3  # of a layer's units saturated or dead: it is the activation that passes nothing on
DEAD_PART = 0.5  # of its units
SMALL_WEIGHTS = 0.5  # of the others' size


@dataclass(frozen=True)
class Culprit:
    """Between the layer `above` and the one `below` it, the signal loses so many decades at once."""

    layers: tuple[str, ...]  # the one, or both where what was recorded does not tell which
    above: str
    below: str
    decades: float
    dead: bool = False  # its units are off


def single_layer(evidence: Evidence, reach: Reach) -> Culprit | None:
    """The layer at which the signal falls, if it falls at one place alone.

    All signals on the input's side must lie below all on the output's side, by a step beyond the usual one. The signal
    at a layer's bias is lost either in its own activation, which is flat, or in the kernel above, which is small.
    """
    names, level = _levels(reach)
    if len(level) < 3:
        return None
    below = np.maximum.accumulate(level)[:-1]
    above = np.minimum.accumulate(level[::-1])[::-1][1:]
    drops = above - below
    at = int(np.argmax(drops))
    others = np.delete(np.diff(level), at)
    usual = max(float(np.median(others)), 0.0) if len(others) else 0.0
    if not drops[at] > STEP + 2 * usual:
        return None
    lower, upper = names[at], names[at + 1]
    dead = _part(evidence, Statistic.DEAD_FRACTION, lower) > DEAD_PART
    return Culprit(_which(evidence, reach, lower, upper), upper, lower, float(drops[at]), dead)


def _levels(reach: Reach) -> tuple[list[str], Float64s]:
    """Layers with a signal, from input to output, and its median in decades."""
    if len(reach.biases) >= 3:
        return [variable.layer for variable in reach.biases], np.maximum(reach.signal_level, -300)
    return [variable.layer for variable in reach.kernels], np.maximum(reach.level, -300)


def _which(evidence: Evidence, reach: Reach, lower: str, upper: str) -> tuple[str, ...]:
    flat = max((_part(evidence, statistic, lower) for statistic in FLAT), default=0.0)
    if flat > FLAT_PART:
        return (lower,)
    weights = _weights(evidence)
    others = [size for layer, size in weights.items() if layer not in (lower, upper)]
    if others and upper in weights and weights[upper] < SMALL_WEIGHTS * float(np.median(others)):
        return (upper,)
    if others and lower in weights and weights[lower] > float(np.median(others)) / SMALL_WEIGHTS:
        return (lower,)
    level = dict(zip((variable.layer for variable in reach.kernels), reach.level, strict=True))
    if level.get(upper, -np.inf) > level.get(lower, -np.inf) + STEP:
        return (upper, lower)
    return (lower, upper)


FLAT = (Statistic.SATURATED_FRACTION, Statistic.DEAD_FRACTION)


def _part(evidence: Evidence, statistic: Statistic, layer: str) -> float:
    """Of a layer's units, at the median step; 0 where it is not known."""
    if statistic not in evidence.series:
        return 0.0
    rows = evidence.rows(statistic)
    for variable, values in zip(rows.variables, rows.values, strict=True):
        if variable.layer == layer:
            known = values[np.isfinite(values)]
            return float(np.median(known)) if len(known) else 0.0
    return 0.0


def _weights(evidence: Evidence) -> dict[str, float]:
    """Of each kernel, the deviation of its weights at the first recorded step times √fan-in, as far as it is known."""
    for statistic in (Statistic.WEIGHT_VARIANCE, Statistic.WEIGHT_NORM):
        if statistic in evidence.series:
            rows = evidence.rows(statistic, "kernel")
            first = rows.values[:, 0].astype(np.float64)
            fan_in = np.array([np.prod(v.shape[:-1]) for v in rows.variables], np.float64)
            size = np.array([np.prod(v.shape) for v in rows.variables], np.float64)
            gains = (
                np.sqrt(first * fan_in) if statistic is Statistic.WEIGHT_VARIANCE else first * np.sqrt(fan_in / size)
            )
            return {v.layer: float(g) for v, g in zip(rows.variables, gains, strict=True) if np.isfinite(g)}
    return {}
