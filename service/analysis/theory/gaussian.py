"""Expectations of an activation and of its derivative over pairs of correlated Gaussians.

Mehler's formula: with φ(m_a + √q_a z) = Σ_n α_n(a) h_n(z) in normalized Hermite polynomials,
E[φ(u_a) φ(u_b)] = Σ_n α_n(a) α_n(b) c_ab^n for u ~ N(m, K), where c are the correlations of K. If the means are 0, the
term of the kink is summed in closed form, as the arc-cosine kernel of Cho and Saul 2009.
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from service.analysis.theory.activations import Activation, Array

TERMS = 128  # of a Hermite series
EDGES = (0.0, 0.1, 0.25, 0.5, 1.0, 1.75, 2.75, 4.0, 6.0, 9.0)  # edges of the quadrature panels, dense at the kink
NODES = 16  # Gauss–Legendre nodes per panel
MAX_KINK_DISTANCE = 8.5  # standard deviations between mean and kink; a kink further away has no effect
FEW_SAMPLES = 4  # up to this number, all powers of the correlations are computed at once
NEGLIGIBLE = 1e-9  # relative size of a coefficient that is left out; only its square enters a sum


@dataclass(frozen=True)
class PairMoments:
    """Moments of φ(u) and φ'(u) for u ~ N(m, K); a and b are samples."""

    mean: Array  # [samples], E[φ(u_a)]
    second: Array  # [samples, samples], E[φ(u_a) φ(u_b)]
    slope: Array  # [samples, samples], E[φ'(u_a) φ'(u_b)]
    kurtosis: float  # E[φ⁴] / E[φ²]², mean over samples
    slope_kurtosis: float  # E[φ'⁴] / E[φ'²]², mean over samples
    elasticity: float  # d ln E[φ²] / d ln E[u²], mean over samples
    slope_elasticity: float  # d ln E[φ'²] / d ln E[u²], mean over samples
    mixed: float  # E[φ² φ'²] / (E[φ²] E[φ'²]), mean over samples


@dataclass(frozen=True)
class Quadrature:
    """Nodes and weights for ∫ f(z) N(z; 0, 1) dz, with a panel edge where f has a kink."""

    nodes: Array  # [nodes]
    weights: Array  # [nodes], include the normal density
    hermite: Array  # [nodes, TERMS], weights · normalized Hermite polynomials


def pair_moments(activation: Activation, mean: Array, covariance: Array) -> PairMoments:
    """Moments of all pairs of samples.

    Args:
        activation: the activation φ.
        mean: [samples], means m.
        covariance: [samples, samples], covariances K.
    """
    deviation = np.sqrt(np.maximum(np.diagonal(covariance), 0.0))
    correlation = _correlations(covariance, deviation)
    centered, kink = not mean.any(), activation.kink
    kink_at = np.clip(-mean / np.where(deviation > 0, deviation, 1.0), -MAX_KINK_DISTANCE, MAX_KINK_DISTANCE)
    rule = quadrature(float(np.median(kink_at)) if kink else 0.0)
    terms = activation.degree + 1 if centered and activation.degree is not None else TERMS
    z, weights, hermite = rule.nodes, rule.weights, rule.hermite[:, :terms]
    u = mean[:, None] + deviation[:, None] * z
    value, slope = activation.smooth(u), activation.smooth_slope(u)
    if kink:
        step = kink * _step_series(kink_at, terms)
        step[:, 1:] *= deviation[:, None] > 0
        ramp = _integrated(step, mean, deviation, kink * _density(kink_at))
        series, slope_series = value @ hermite + ramp, slope @ hermite + step
        value, slope = value + kink * np.maximum(u, 0.0), slope + kink * (u > 0)
    else:
        series, slope_series = value @ hermite, slope @ hermite
    square, slope_square = value**2 @ weights, slope**2 @ weights
    if kink and centered:
        second = _mehler(series, square, correlation, ramp, kink**2 * _ramp(correlation, deviation))
        slopes = _mehler(slope_series, slope_square, correlation, step, kink**2 * _step(correlation))
    else:
        second, slopes = _mehler(series, square, correlation), _mehler(slope_series, slope_square, correlation)
    return PairMoments(
        mean=series[:, 0],
        second=second,
        slope=slopes,
        kurtosis=_ratio(value**4 @ weights, square**2),
        slope_kurtosis=_ratio(slope**4 @ weights, slope_square**2),
        # Both elasticities are integrated by parts, the second one twice.
        elasticity=_ratio((z * value * slope) @ weights * (deviation**2 + mean**2), square * deviation),
        slope_elasticity=_ratio(
            ((z**2 - 1) * slope**2) @ weights * (deviation**2 + mean**2), 2 * slope_square * deviation**2, 0.0
        ),
        mixed=_ratio((value**2 * slope**2) @ weights, square * slope_square),
    )


def _ratio(over: Array, under: Array, otherwise: float = 1.0) -> float:
    """Mean of over / under over the samples with a positive denominator; `otherwise` if there are none."""
    usable = under > 0
    return float(np.mean(over[usable] / under[usable])) if usable.any() else otherwise


def _mehler(
    series: Array, square: Array, correlation: Array, kink: Array | None = None, closed: Array | None = None
) -> Array:
    """Σ_n α_n(a) α_n(b) c_ab^n [samples, samples].

    `square` [samples] is the whole sum at c = 1; what the truncated series lacks of it is assigned to the next power.
    If given, the series of the kink [samples, terms] is replaced by its closed form [samples, samples].
    """
    found = _power_series(series, correlation)
    if kink is not None and closed is not None:
        found += closed - _power_series(kink, correlation)
    missing = np.sqrt(np.maximum(square - np.diagonal(found), 0.0))
    found += np.multiply.outer(missing, missing) * correlation ** series.shape[1]
    return found


def _power_series(series: Array, correlation: Array) -> Array:
    """Σ_n α_n(a) α_n(b) c_ab^n for coefficients [samples, terms]; by Horner's scheme for many samples."""
    samples, terms = series.shape
    if samples <= FEW_SAMPLES:
        powers = correlation[..., None] ** np.arange(terms)
        few: Array = np.einsum("an,bn,abn->ab", series, series, powers)
        return few
    sizes = np.abs(series).max(axis=0)
    used = np.flatnonzero(sizes > NEGLIGIBLE * sizes.max(initial=0.0))
    found = np.zeros_like(correlation)
    for n in range(used[-1] if len(used) else -1, -1, -1):
        found *= correlation
        found += np.multiply.outer(series[:, n], series[:, n])
    return found


class Moments(NamedTuple):
    """Moments of φ(u) and φ'(u) for u ~ N(m, q)."""

    mean: float  # E[φ]
    square: float  # E[φ²]
    slope: float  # E[φ'²]
    growth: float  # d E[φ²] / dq = E[φ'² + φ φ'']


def single_moments(activation: Activation, variance: float, mean: float = 0.0) -> Moments:
    """Moments of a single sample.

    Args:
        activation: the activation φ.
        variance: q, positive.
        mean: m.
    """
    deviation = np.sqrt(variance)
    rule = quadrature(
        float(np.clip(-mean / deviation, -MAX_KINK_DISTANCE, MAX_KINK_DISTANCE)) if activation.kink and mean else 0.0
    )
    u = mean + deviation * rule.nodes
    value, slope = activation(u), activation.slope(u)
    return Moments(
        mean=float(value @ rule.weights),
        square=float(value**2 @ rule.weights),
        slope=float(slope**2 @ rule.weights),
        growth=float((rule.nodes * value * slope) @ rule.weights / deviation),  # integrated by parts
    )


@lru_cache(maxsize=64)
def quadrature(kink_at: float) -> Quadrature:
    """Composite Gauss–Legendre rule over ±9 standard deviations with a panel edge at `kink_at`."""
    nodes, weights = np.polynomial.legendre.leggauss(NODES)
    right = np.array(EDGES)
    edges = np.unique(np.concatenate([-right, right]))
    if kink_at:
        edges = np.concatenate([kink_at + np.concatenate([-right[:5][::-1], right[1:5]]), edges])
        edges = np.unique(np.clip(edges, -9.0, 9.0))
    half, middle = np.diff(edges)[:, None] / 2, (edges[1:] + edges[:-1])[:, None] / 2
    z = (middle + half * nodes).ravel()
    density = (half * weights).ravel() * _density(z)
    return Quadrature(z, density, _hermite(z, TERMS) * density[:, None])


def _hermite(z: Array, terms: int) -> Array:
    """Normalized probabilists' Hermite polynomials [len(z), terms], by their three-term recurrence."""
    found = np.ones((len(z), terms))
    if terms > 1:
        found[:, 1] = z
    for n in range(1, terms - 1):
        found[:, n + 1] = (z * found[:, n] - np.sqrt(n) * found[:, n - 1]) / np.sqrt(n + 1)
    return found


def _step_series(kink_at: Array, terms: int) -> Array:
    """Hermite coefficients [samples, terms] of the step function z > kink_at."""
    from scipy.special import ndtr

    found = np.empty((len(kink_at), terms))
    found[:, 0] = ndtr(-kink_at)
    if terms > 1:
        inner = _hermite(kink_at, terms - 1) if kink_at.any() else np.tile(_hermite_at_0(terms - 1), (len(kink_at), 1))
        found[:, 1:] = inner * _density(kink_at)[:, None] / np.sqrt(np.arange(1, terms))
    return found


def _integrated(slope: Array, mean: Array, deviation: Array, kink_density: Array) -> Array:
    """Hermite coefficients of a ramp from those of its derivative: E[φ(u) h_n] = √q E[φ'(u) h_{n−1}] / √n."""
    found = np.empty_like(slope)
    found[:, 0] = mean * slope[:, 0] + deviation * kink_density
    found[:, 1:] = deviation[:, None] * slope[:, :-1] / np.sqrt(np.arange(1, slope.shape[1]))
    return found


@lru_cache(maxsize=8)
def _hermite_at_0(terms: int) -> Array:
    """Normalized Hermite polynomials at 0 [terms]."""
    found: Array = _hermite(np.zeros(1), terms)[0]
    return found


def _step(correlation: Array) -> Array:
    """E[(z_a > 0)(z_b > 0)] (arc-cosine kernel of order 0, Cho and Saul 2009)."""
    found: Array = 0.25 + np.arcsin(correlation) / (2 * np.pi)
    return found


def _ramp(correlation: Array, deviation: Array) -> Array:
    """E[max(u_a, 0) max(u_b, 0)] (arc-cosine kernel of order 1, Cho and Saul 2009)."""
    angle = np.arccos(correlation)
    found: Array = np.multiply.outer(deviation, deviation) * (np.sin(angle) + (np.pi - angle) * correlation)
    return found / (2 * np.pi)


def _correlations(covariance: Array, deviation: Array) -> Array:
    """Correlations [samples, samples], clipped to [−1, 1]; 0 for a sample without variance, and 1 on the diagonal."""
    scale = np.where(deviation > 0, deviation, 1.0)
    found = np.clip(covariance / np.multiply.outer(scale, scale), -1.0, 1.0)
    np.fill_diagonal(found, 1.0)
    return found


def _density(z: Array) -> Array:
    """Density of the standard normal distribution."""
    found: Array = np.exp(-(z**2) / 2) / np.sqrt(2 * np.pi)
    return found
