"""The parts of a hidden layer, each as its law for moments: forward, and back from the gradient at its output.

Poole et al. 2016 and Schoenholz et al. 2017 for dense layers; Yang and Schoenholz 2017 for residuals.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
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
    log_scale: float


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

        def back(gradient: Gradient) -> tuple[Gradient, tuple[Found, ...]]:
            bias = self.fan_out * gradient.second
            found = (
                Found(f"{self.name}/kernel", self.fan_in * before * bias, gradient.log_scale),
                Found(f"{self.name}/bias", bias, gradient.log_scale),
            )
            return gradient.scaled(self.weight_variance * bias), found

        return Signal(np.full(len(before), self.bias_mean), second), back


@dataclass(frozen=True)
class Activate:
    """φ of a Gaussian signal."""

    activation: Activation

    def __call__(self, signal: Signal) -> tuple[Signal, Pullback]:
        """H = E[φ φ]; back, times E[φ' φ']."""
        moments = pair_moments(self.activation, signal.mean, signal.covariance)

        def back(gradient: Gradient) -> tuple[Gradient, tuple[Found, ...]]:
            return gradient.scaled(moments.slope * gradient.second), ()

        return Signal(moments.mean, moments.second), back


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
            found = (
                Found(f"{self.name}/gamma", normalized * beta, gradient.log_scale),
                Found(f"{self.name}/beta", beta, gradient.log_scale),
            )
            return gradient.scaled(gradient.second / scale), found

        return Signal(np.zeros(len(scale)), normalized), back


@dataclass(frozen=True)
class DropOut:
    """Keeps a unit with probability 1 − rate, and then makes it larger by as much."""

    rate: float

    def __call__(self, signal: Signal) -> tuple[Signal, Pullback]:
        """A row's own square is larger by 1 / (1 − rate); two rows drop independently."""
        factor = np.where(np.eye(len(signal.mean), dtype=bool), 1 / (1 - self.rate), 1.0)

        def back(gradient: Gradient) -> tuple[Gradient, tuple[Found, ...]]:
            return gradient.scaled(factor * gradient.second), ()

        return Signal(signal.mean, factor * signal.second), back


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

        def back(gradient: Gradient) -> tuple[Gradient, tuple[Found, ...]]:
            scaled = Gradient(gradient.second, gradient.log_scale + 2 * float(np.log(self.scale)))
            through, found = pullback(scaled)
            both = gradient.second + through.second * np.exp(through.log_scale - gradient.log_scale)
            return gradient.scaled(both), found

        return Signal(signal.mean + self.scale * made.mean, second), back


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
