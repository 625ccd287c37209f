"""Expectations of an activation and of its derivative over pairs of correlated Gaussians.

Mehler's formula: with φ(m_a + √q_a z) = Σ_n α_n(a) h_n(z) in normalized Hermite polynomials,
E[φ(u_a) φ(u_b)] = Σ_n α_n(a) α_n(b) c_ab^n for u ~ N(m, K) and c the correlations of K. The kink's own term is the
arc-cosine kernel (Cho and Saul 2009) wherever the means are 0.
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from service.analysis.theory.activations import Activation, Array

TERMS = 128
EDGES = (0.0, 0.1, 0.25, 0.5, 1.0, 1.75, 2.75, 4.0, 6.0, 9.0)  # of the quadrature's panels, dense at the kink
NODES = 16  # Gauss–Legendre, a panel
FARTHEST = 8.5  # deviations between the mean and the kink, beyond which it is not felt
FEW_ROWS = 4
NEGLIGIBLE = 1e-9  # of a coefficient: its square is what counts


@dataclass(frozen=True)
class PairMoments:
    """Of u ~ N(m, K) over rows a, b."""

    mean: Array  # [rows], E[φ(u_a)]
    second: Array  # [rows, rows], E[φ(u_a) φ(u_b)]
    slope: Array  # [rows, rows], E[φ'(u_a) φ'(u_b)]
    kurtosis: float  # E[φ⁴] / E[φ²]², over rows
    slope_kurtosis: float  # the same of φ'
    elasticity: float  # d ln E[φ²] / d ln E[u²], over rows
    slope_elasticity: float  # d ln E[φ'²] / d ln E[u²], over rows
    mixed: float  # E[φ² φ'²] / (E[φ²] E[φ'²]), over rows


@dataclass(frozen=True)
class Quadrature:
    """Nodes for ∫ f(z) N(z; 0, 1) dz, exact about one place where f has a kink."""

    nodes: Array  # [nodes]
    weights: Array  # [nodes], the normal density included
    hermite: Array  # [nodes, TERMS], weights · normalized Hermite polynomials


def pair_moments(activation: Activation, mean: Array, covariance: Array) -> PairMoments:
    """All pairs at once, for means [rows] and covariances [rows, rows]."""
    deviation = np.sqrt(np.maximum(np.diagonal(covariance), 0.0))
    correlation = _correlations(covariance, deviation)
    centered, kink = not mean.any(), activation.kink
    kink_at = np.clip(-mean / np.where(deviation > 0, deviation, 1.0), -FARTHEST, FARTHEST)
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
        elasticity=_ratio((z * value * slope) @ weights * (deviation**2 + mean**2), square * deviation),  # by parts
        slope_elasticity=_ratio(  # by parts, twice
            ((z**2 - 1) * slope**2) @ weights * (deviation**2 + mean**2), 2 * slope_square * deviation**2, 0.0
        ),
        mixed=_ratio((value**2 * slope**2) @ weights, square * slope_square),
    )


def _ratio(over: Array, under: Array, otherwise: float = 1.0) -> float:
    usable = under > 0
    return float(np.mean(over[usable] / under[usable])) if usable.any() else otherwise


def _mehler(
    series: Array, square: Array, correlation: Array, kink: Array | None = None, closed: Array | None = None
) -> Array:
    """Σ_n α_n(a) α_n(b) c_ab^n, where `square` is the whole sum at c = 1: what is missing goes with the last power.

    The kink's own series [rows, terms], if given, is left out for its sum in closed form.
    """
    found = _power_series(series, correlation)
    if kink is not None and closed is not None:
        found += closed - _power_series(kink, correlation)
    missing = np.sqrt(np.maximum(square - np.diagonal(found), 0.0))
    found += np.multiply.outer(missing, missing) * correlation ** series.shape[1]
    return found


def _power_series(series: Array, correlation: Array) -> Array:
    rows, terms = series.shape
    if rows <= FEW_ROWS:
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
    """Of u ~ N(m, q)."""

    mean: float  # E[φ]
    square: float  # E[φ²]
    slope: float  # E[φ'²]
    growth: float  # d E[φ²] / dq = E[φ'² + φ φ'']


def single_moments(activation: Activation, variance: float, mean: float = 0.0) -> Moments:
    """Of one row alone."""
    deviation = np.sqrt(variance)
    rule = quadrature(float(np.clip(-mean / deviation, -FARTHEST, FARTHEST)) if activation.kink and mean else 0.0)
    u = mean + deviation * rule.nodes
    value, slope = activation(u), activation.slope(u)
    return Moments(
        mean=float(value @ rule.weights),
        square=float(value**2 @ rule.weights),
        slope=float(slope**2 @ rule.weights),
        growth=float((rule.nodes * value * slope) @ rule.weights / deviation),  # by parts
    )


@lru_cache(maxsize=64)
def quadrature(kink_at: float) -> Quadrature:
    """Composite Gauss–Legendre over ±9 deviations with a panel's edge where the kink is."""
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
    """Normalized probabilists' Hermite polynomials [len(z), terms]."""
    found = np.ones((len(z), terms))
    if terms > 1:
        found[:, 1] = z
    for n in range(1, terms - 1):
        found[:, n + 1] = (z * found[:, n] - np.sqrt(n) * found[:, n - 1]) / np.sqrt(n + 1)
    return found


def _step_series(kink_at: Array, terms: int) -> Array:
    """Hermite coefficients [rows, terms] of the step z > t."""
    from scipy.special import ndtr

    found = np.empty((len(kink_at), terms))
    found[:, 0] = ndtr(-kink_at)
    if terms > 1:
        inner = _hermite(kink_at, terms - 1) if kink_at.any() else np.tile(_hermite_at_0(terms - 1), (len(kink_at), 1))
        found[:, 1:] = inner * _density(kink_at)[:, None] / np.sqrt(np.arange(1, terms))
    return found


def _integrated(slope: Array, mean: Array, deviation: Array, kink_density: Array) -> Array:
    """Coefficients of the ramp from those of its step: E[φ(u) h_n] = √q E[φ'(u) h_{n−1}] / √n."""
    found = np.empty_like(slope)
    found[:, 0] = mean * slope[:, 0] + deviation * kink_density
    found[:, 1:] = deviation[:, None] * slope[:, :-1] / np.sqrt(np.arange(1, slope.shape[1]))
    return found


@lru_cache(maxsize=8)
def _hermite_at_0(terms: int) -> Array:
    found: Array = _hermite(np.zeros(1), terms)[0]
    return found


def _step(correlation: Array) -> Array:
    """E[(z_a > 0)(z_b > 0)] (Cho and Saul 2009, order 0)."""
    found: Array = 0.25 + np.arcsin(correlation) / (2 * np.pi)
    return found


def _ramp(correlation: Array, deviation: Array) -> Array:
    """E[max(u_a, 0) max(u_b, 0)] (the same, order 1)."""
    angle = np.arccos(correlation)
    found: Array = np.multiply.outer(deviation, deviation) * (np.sin(angle) + (np.pi - angle) * correlation)
    return found / (2 * np.pi)


def _correlations(covariance: Array, deviation: Array) -> Array:
    scale = np.where(deviation > 0, deviation, 1.0)
    found = np.clip(covariance / np.multiply.outer(scale, scale), -1.0, 1.0)
    np.fill_diagonal(found, 1.0)
    return found


def _density(z: Array) -> Array:
    found: Array = np.exp(-(z**2) / 2) / np.sqrt(2 * np.pi)
    return found
