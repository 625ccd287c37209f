"""The parts of a hidden layer, each as its law for moments: forward, and back from the gradient at its output.

Poole et al. 2016 and Schoenholz et al. 2017 for dense layers; Yang and Schoenholz 2017 for residuals.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Protocol, TypeAlias

import numpy as np

from service.analysis.theory.activations import Activation, Array
from service.analysis.theory.gaussian import pair_moments
from service.analysis.theory.signal import Gradient, Signal

LAYER_EPSILON = 0.001  # keras.layers.LayerNormalization's


@dataclass(frozen=True)
class Found:
    """A variable's squared gradient norm, pair by pair: its mean over weights is their sum over batch²."""

    name: str
    pairs: Array  # [rows, rows]
    log_scale: float  # natural logarithm of what they are to be multiplied with
    log_variance: float  # of the logarithm of the squared norm, over networks of this width


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

    @property
    def gain(self) -> float:
        """σ_w² = fan-in · Var W."""
        return self.fan_in * self.weight_variance

    def __call__(self, signal: Signal) -> tuple[Signal, Pullback]:
        """K = σ_w² H + σ_b²."""
        before = signal.second
        second = self.gain * before + self.bias_variance + self.bias_mean**2
        share = _mean_ratio(self.gain * before, second)

        def back(gradient: Gradient) -> tuple[Gradient, tuple[Found, ...]]:
            bias = self.fan_out * gradient.second
            scale, variance = gradient.log_scale, gradient.log_variance
            found = (
                Found(f"{self.name}/kernel", self.fan_in * before * bias, scale, variance + signal.log_variance),
                Found(f"{self.name}/bias", bias, scale, variance),
            )
            return gradient.to(self.weight_variance * bias), found

        mean = np.full(len(before), self.bias_mean)
        return signal.to(mean, second, share**2 * signal.log_variance), back


@dataclass(frozen=True)
class Activate:
    """φ of a Gaussian signal, in a layer of so many units."""

    activation: Activation
    units: int

    def __call__(self, signal: Signal) -> tuple[Signal, Pullback]:
        """H = E[φ φ]; back, times E[φ' φ'].

        Of n units, Σ φ² has the relative variance (E φ⁴ / (E φ²)² − 1) / n, and Σ φ'² g² with Gaussian g has
        (3 E φ'⁴ / (E φ'²)² − 1) / n: 5 / n each for ReLU (Hanin and Nica 2020, theorem 3, for a batch of one row).
        """
        moments = pair_moments(self.activation, signal.mean, signal.covariance)
        own = (moments.kurtosis - 1) / self.units * signal.common(moments.second)

        def back(gradient: Gradient) -> tuple[Gradient, tuple[Found, ...]]:
            own_back = (3 * moments.slope_kurtosis - 1) / self.units * signal.common(gradient.second)
            return gradient.to(moments.slope * gradient.second, own_back), ()

        return signal.to(moments.mean, moments.second, moments.elasticity**2 * signal.log_variance + own), back


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
            log_scale, variance = gradient.log_scale, gradient.log_variance
            found = (
                Found(f"{self.name}/gamma", normalized * beta, log_scale, variance),
                Found(f"{self.name}/beta", beta, log_scale, variance),
            )
            return gradient.to(gradient.second / scale, signal.log_variance), found

        return signal.to(np.zeros(len(scale)), normalized, 0.0), back


@dataclass(frozen=True)
class DropOut:
    """Keeps a unit with probability 1 − rate, and then makes it larger by as much."""

    rate: float

    def __call__(self, signal: Signal) -> tuple[Signal, Pullback]:
        """A row's own square is larger by 1 / (1 − rate); two rows drop independently."""
        factor = np.where(np.eye(len(signal.mean), dtype=bool), 1 / (1 - self.rate), 1.0)

        def back(gradient: Gradient) -> tuple[Gradient, tuple[Found, ...]]:
            return gradient.to(factor * gradient.second), ()

        return signal.to(signal.mean, factor * signal.second, signal.log_variance), back


@dataclass(frozen=True)
class Residual:
    """h + α · block(h)."""

    block: Sequence[Stage]
    scale: float

    def __call__(self, signal: Signal) -> tuple[Signal, Pullback]:
        """H + α (m μᵀ + μ mᵀ) + α² H_block: the block's weights know nothing of h beyond its moments."""
        made, pullback = chain(self.block, signal)
        across = np.multiply.outer(signal.mean, made.mean)
        second = signal.second + self.scale * (across + across.T) + self.scale**2 * made.second
        share = _mean_ratio(self.scale**2 * made.second, second)

        def back(gradient: Gradient) -> tuple[Gradient, tuple[Found, ...]]:
            through, found = pullback(replace(gradient, log_scale=gradient.log_scale + 2 * float(np.log(self.scale))))
            added = through.second * np.exp(through.log_scale - gradient.log_scale)
            both = gradient.second + added
            more = _mean_ratio(added, both) ** 2 * (through.log_variance - gradient.log_variance)
            return gradient.to(both, more), found

        variance = (1 - share) ** 2 * signal.log_variance + share**2 * made.log_variance
        return signal.to(signal.mean + self.scale * made.mean, second, variance), back


def _mean_ratio(part: Array, whole: Array) -> float:
    """Of the rows' own squares."""
    return float(np.trace(part) / np.trace(whole)) if np.trace(whole) > 0 else 0.0


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
