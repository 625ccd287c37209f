"""The parts of a hidden layer, each as its law for moments: forward, and back from the gradient at its output.

Poole et al. 2016 and Schoenholz et al. 2017 for dense layers; Yang and Schoenholz 2017 for residuals.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import NamedTuple, Protocol, TypeAlias

import numpy as np

from service.analysis.theory import directions
from service.analysis.theory.activations import Activation, Array
from service.analysis.theory.gaussian import pair_moments
from service.analysis.theory.signal import Gradient, Signal

PLACES = 256  # of a distribution
LAYER_EPSILON = 0.001  # keras.layers.LayerNormalization's


class Logarithm(NamedTuple):
    """Of a squared norm, natural."""

    mean: float
    variance: float
    of_width: float  # the part of the variance that only many units would take away


@dataclass(frozen=True)
class Found:
    """A variable's squared gradient norm, pair by pair: its mean over weights is their sum over batch²."""

    name: str
    pairs: Array  # [rows, rows]
    log_scale: float  # natural logarithm of what they are to be multiplied with
    log_variance: float  # of the logarithm of the squared norm, over networks of this width
    log_excess: float = 0.0  # of the mean of that logarithm, over that of a normal one with this mean square
    directed: float = 0.0  # the part of it that is one random number squared

    def width(self) -> Logarithm:
        """What finite width adds to the logarithm of the mean square."""
        directed = min(self.directed, 1.0)
        points = np.log(1 - directed + directed * _chi_square())
        variance = float(points.var()) + self.log_variance
        mean = float(points.mean()) - self.log_variance / 2 + self.log_excess
        return Logarithm(mean, variance, variance)


Pullback: TypeAlias = Callable[[Gradient], tuple[Gradient, tuple[Found, ...]]]


class Stage(Protocol):
    """A map of signals that can be gone back."""

    def __call__(self, signal: Signal) -> tuple[Signal, Pullback]:
        """The signal behind it, and what brings gradients from there to here."""


@dataclass(frozen=True)
class Dense:
    """u = h W + b with independent entries: by the central limit, Gaussian over units."""

    name: str
    fan_in: int
    fan_out: int
    weight_variance: float
    bias_mean: float = 0.0
    bias_variance: float = 0.0
    orthogonal: bool = False
    ends_a_block: bool = False  # its output is added as it is: no activation counts its fluctuation
    reads_a_sum: bool = False  # its input is one as it is: nor that of its gradient

    @property
    def gain(self) -> float:
        """σ_w² = fan-in · Var W."""
        return self.fan_in * self.weight_variance

    def __call__(self, signal: Signal) -> tuple[Signal, Pullback]:
        """K = σ_w² H + σ_b²."""
        before = signal.second
        second = self.gain * before + self.bias_variance + self.bias_mean**2
        share = part_of(self.gain * before, second)

        def back(gradient: Gradient) -> tuple[Gradient, tuple[Found, ...]]:
            bias = self.fan_out * gradient.second
            response = share * gradient.response
            drawn = gradient.response**2 * own * signal.common(second)

            def variable(role: str, pairs: Array, power: int) -> Found:
                """Whose square goes with this power of h², but for what the slopes behind make of it."""
                own, whole = power * signal.log_variance, (power + response) ** 2 * signal.log_variance + drawn
                excess = gradient.log_excess + (whole - own) / 2
                variance = gradient.log_variance + whole
                return Found(f"{self.name}/{role}", pairs, gradient.log_scale, variance, excess, gradient.directed)

            found = (variable("kernel", self.fan_in * before * bias, 1), variable("bias", bias, 0))
            before_it = self.weight_variance * bias
            own_back = 2 / self.fan_in * signal.common(before_it) if self.reads_a_sum else 0.0
            along = directions.unbiased(before_it, signal)
            made = gradient.to(before_it, own_back, along=along, response=response, of_response=drawn)
            return replace(made, fixed=self.orthogonal and self.fan_in >= self.fan_out), found

        mean = np.full(len(before), self.bias_mean)
        own = 2 / self.fan_out if self.ends_a_block else 0.0
        made = signal.to(mean, second, share, own)
        return replace(made, fixed=self.orthogonal and self.fan_out >= self.fan_in), back


@dataclass(frozen=True)
class Activate:
    """φ of a Gaussian signal, in a layer of so many units."""

    activation: Activation
    units: int

    def __call__(self, signal: Signal) -> tuple[Signal, Pullback]:
        """H = E[φ φ]; back, times E[φ' φ'].

        Of n units, Σ φ² has the relative variance (E φ⁴ / (E φ²)² − 1) / n, and Σ φ'² g² with Gaussian g has
        (3 E φ'⁴ / (E φ'²)² − 1) / n: 5 / n each for ReLU (Hanin and Nica 2020, theorem 3, for a batch of one row).
        Behind an isometry Σ u² does not fluctuate, and what follows it, a part of 2 / n, is not there.
        """
        moments = pair_moments(self.activation, signal.mean, signal.covariance)
        following = 2 * moments.elasticity**2 if signal.fixed else 0.0
        own = max(moments.kurtosis - 1 - following, 0.0) / self.units

        def back(gradient: Gradient) -> tuple[Gradient, tuple[Found, ...]]:
            following = 2.0 if gradient.fixed else 0.0
            own_back = (3 * moments.slope_kurtosis - 1 - following) / self.units * signal.common(gradient.second)
            # Where the slopes behind respond to Σ φ², so does the gradient; Σ φ'² is a sum over the same units.
            both = gradient.response * own + 2 * (moments.mixed - 1) / self.units
            more = max(gradient.response * both * signal.common(moments.second), -own_back)
            response = moments.slope_elasticity + moments.elasticity * gradient.response
            second = moments.slope * gradient.second
            return gradient.to(second, own_back, response=response, of_response=more), ()

        return signal.to(moments.mean, moments.second, moments.elasticity, own), back


@dataclass(frozen=True)
class NormalizeLayer:
    """Each row less its mean over units, over its deviation."""

    name: str
    units: int

    def __call__(self, signal: Signal) -> tuple[Signal, Pullback]:
        """(H − m mᵀ) / (s sᵀ); back, over s sᵀ: the mean and the row itself take two of many directions away."""
        covariance = signal.covariance
        deviation = np.sqrt(np.maximum(np.diagonal(covariance), 0.0) + LAYER_EPSILON)
        scale = np.multiply.outer(deviation, deviation)
        normalized = covariance / scale

        def back(gradient: Gradient) -> tuple[Gradient, tuple[Found, ...]]:
            beta = self.units * gradient.second
            known = (gradient.log_scale, gradient.log_variance, gradient.log_excess)
            found = (
                Found(f"{self.name}/gamma", normalized * beta, *known),
                Found(f"{self.name}/beta", beta, *known),
            )
            # The mean of 1 / s² is larger than 1 over the mean of s², by the relative variance of a row's; its
            # logarithm lies half of the batch's below.
            excess = signal.row_variance - signal.log_variance / 2
            left = gradient.second * (1 - 2 / self.units if self.units > 2 else 1.0) / scale
            return gradient.to(left, more_excess=excess, response=-1.0), found

        return signal.to(np.zeros(len(scale)), normalized, 0.0), back


@dataclass(frozen=True)
class DropOut:
    """Keeps a unit with probability 1 − rate, and then makes it larger by as much."""

    rate: float

    def __call__(self, signal: Signal) -> tuple[Signal, Pullback]:
        """A row's own square is larger by 1 / (1 − rate); two rows drop independently."""
        factor = np.where(np.eye(len(signal.mean), dtype=bool), 1 / (1 - self.rate), 1.0)

        def back(gradient: Gradient) -> tuple[Gradient, tuple[Found, ...]]:
            return gradient.to(factor * gradient.second, response=gradient.response), ()

        return signal.to(signal.mean, factor * signal.second, 1.0), back


def chain(stages: Sequence[Stage], signal: Signal) -> tuple[Signal, Pullback]:
    """One after another; gradients are found from input to output."""
    pullbacks = []
    for stage in stages:
        signal, pullback = stage(signal)
        pullbacks.append(pullback)

    def back(gradient: Gradient) -> tuple[Gradient, tuple[Found, ...]]:
        every: tuple[Found, ...] = ()
        for pullback in reversed(pullbacks):
            gradient, found = pullback(gradient)
            every = found + every
        return gradient, every

    return signal, back


def part_of(part: Array, whole: Array) -> float:
    """What part of the rows' own squares in `whole` that in `part` is."""
    return float(np.trace(part) / np.trace(whole)) if np.trace(whole) > 0 else 0.0


@cache
def _chi_square() -> Array:
    """Equally likely values of a squared standard normal."""
    from scipy.special import ndtri

    found: Array = ndtri((np.arange(PLACES) + 0.5) / PLACES) ** 2
    return found
