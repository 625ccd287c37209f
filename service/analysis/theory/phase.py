"""Fixed points of the variance and the correlation in a chain of equal hidden layers (Poole et al. 2016)."""

from collections.abc import Callable
from typing import Literal

import numpy as np

from service.analysis.theory.activations import Activation
from service.analysis.theory.gaussian import pair_moments, single_moments
from service.analysis.theory.prediction import Phase

CRITICAL = 1e-3  # |χ_1 − 1| up to which a network is critical: a depth scale of a thousand layers
INFINITE = 1e-6  # a deviation that shrinks by less than this fraction per layer has no finite depth scale
HALVINGS = 48  # bisection steps: to 1e-14 for an interval of length 1
MIN_VARIANCE, MAX_VARIANCE = 1e-9, 1e9  # search range; below it the fixed point is 0, above it there is none


def phase_of(activation: Activation, gain: float, bias_mean: float = 0.0, bias_variance: float = 0.0) -> Phase:
    """The phase of a chain of equal layers (Schoenholz et al. 2017).

    Args:
        activation: the activation φ.
        gain: σ_w² = fan-in · Var W.
        bias_mean: mean of a bias.
        bias_variance: variance σ_b² of a bias.
    """
    q = _fixed_variance(activation, gain, bias_mean, bias_variance)
    vanishes, grows = q == 0.0, q is None
    at = MIN_VARIANCE if q == 0.0 else MAX_VARIANCE if q is None else q
    if activation.is_homogeneous and (vanishes or grows):
        at = 1.0
    moments = single_moments(activation, at, bias_mean)
    chi_1, chi_q = gain * moments.slope, gain * moments.growth
    correlation: float | None
    correlation, chi_c = _fixed_correlation(activation, gain, bias_mean, bias_variance, at)
    if (vanishes or grows) and activation.kink == 0 and (vanishes or activation.name == "linear"):
        correlation, chi_c = None, chi_1  # the network is linear there, so angles do not change
    name: Literal["ordered", "critical", "chaotic"] = "critical"
    if abs(chi_1 - 1) > CRITICAL:
        name = "ordered" if chi_1 < 1 else "chaotic"
    return Phase(name, q, chi_1, correlation, _depth_scale(chi_q), _depth_scale(chi_c))


def _fixed_variance(activation: Activation, gain: float, bias_mean: float, bias_variance: float) -> float | None:
    """The fixed point of the variance map: 0 if the signal vanishes, None if it grows or every variance is fixed."""

    def excess(q: float) -> float:
        return gain * single_moments(activation, q, bias_mean).square + bias_variance - q

    q, up = 1.0, excess(1.0)
    if abs(up) < 1e-12 and activation.is_homogeneous:
        return None
    factor = 4.0 if up > 0 else 0.25
    while MIN_VARIANCE < q < MAX_VARIANCE:
        following = q * factor
        if (excess(following) > 0) != (up > 0):
            return _root(excess, q, following)
        q = following
    return None if up > 0 else 0.0


def _fixed_correlation(
    activation: Activation, gain: float, bias_mean: float, bias_variance: float, q: float
) -> tuple[float, float]:
    """The correlation to which any two samples converge, and the derivative of the correlation map there."""

    def mapped(c: float) -> tuple[float, float]:
        moments = pair_moments(activation, np.full(2, bias_mean), q * np.array([[1.0, c], [c, 1.0]]))
        own, shared = gain * moments.second[0] + bias_variance
        return shared / own, gain * moments.slope[0, 1] * q / own

    if mapped(1.0)[1] <= 1 + CRITICAL:
        return 1.0, mapped(1.0)[1]
    c = _root(lambda c: mapped(c)[0] - c, 0.0, 1 - 1e-6) if mapped(0.0)[0] > 1e-12 else 0.0
    return c, mapped(c)[1]


def _root(function: Callable[[float], float], start: float, end: float) -> float:
    """A root between `start` and `end` by bisection; scipy.optimize would add 20 MB to each API process."""
    sign = function(start) > 0
    for _ in range(HALVINGS):
        middle = (start + end) / 2
        start, end = (middle, end) if (function(middle) > 0) == sign else (start, middle)
    return (start + end) / 2


def _depth_scale(factor: float) -> float | None:
    """Layers in which a deviation from the fixed point falls by a factor of e; None if it does not fall."""
    return float(-1 / np.log(factor)) if 0 < factor < 1 - INFINITE else None
