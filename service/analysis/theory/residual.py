"""Residual connections (Yang and Schoenholz 2017), and what they let pass along two directions at finite width."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from service.analysis.theory.activations import Activation, Array
from service.analysis.theory.gaussian import quadrature
from service.analysis.theory.signal import Along, Gradient, Signal
from service.analysis.theory.stages import Dense, Found, Pullback, Stage, chain, part_of


@dataclass(frozen=True)
class Residual:
    """h + α · block(h)."""

    block: Sequence[Stage]
    scale: float  # α
    units: int
    activated: tuple[Dense, Activation] | None = None  # where the block is φ(h W + b) and no more

    def __call__(self, signal: Signal) -> tuple[Signal, Pullback]:
        """H + α (m μᵀ + μ mᵀ) + α² H_block: the block's weights know nothing of h beyond its moments."""
        made, pullback = chain(self.block, signal)
        across = np.multiply.outer(signal.mean, made.mean)
        second = signal.second + self.scale * (across + across.T) + self.scale**2 * made.second
        share = part_of(self.scale**2 * made.second, second)
        varying = part_of(self.scale**2 * made.covariance, second)

        def back(gradient: Gradient) -> tuple[Gradient, tuple[Found, ...]]:
            through, found = pullback(replace(gradient, log_scale=gradient.log_scale + 2 * float(np.log(self.scale))))
            added = through.second * np.exp(through.log_scale - gradient.log_scale)
            both = gradient.second + added
            part = part_of(added, both)
            more = part**2 * (through.log_variance - gradient.log_variance)
            more += _crossing(part, 1 - part, self.units) * signal.common(both)
            along, directed = None, None
            if self.activated is not None and gradient.along is not None:
                extra, along = _along(*self.activated, self.scale, self.units, signal, gradient)
                both = both + extra
                directed = max(
                    part_of(along.ones, both), part_of(along.row / signal.second, both) if signal.second.all() else 0.0
                ) / self.units
            return gradient.to(both, more, along, directed), found

        variance = (1 - share) ** 2 * signal.log_variance + share**2 * made.log_variance
        variance += _crossing(varying, 1 - share, self.units) * signal.common(second)
        return signal.to(signal.mean + self.scale * made.mean, second, variance), back


def _crossing(random: float, rest: float, units: int) -> float:
    """Relative variance of 2 Σ a_i b_i / n, whose mean is 0, beside a² and b² of these parts of the whole."""
    return 4 * random * rest / units


def _along(
    dense: Dense, activation: Activation, scale: float, units: int, signal: Signal, gradient: Gradient
) -> tuple[Array, Along]:
    """What is to be added to the gradient's second moments before the block, and its parts along 1 and h there.

    The Jacobian of φ(h W + b) has the mean E[φ''] Var W · 1 hᵀ, which is of order 1 / n and not random: what lies along
    it adds up from block to block, and at depth outgrows what is random. For a bias-free ReLU net P does not change,
    as f = h · ∂f/∂h (Euler), and the part of the gradient along h alone has E f_a f_b H_ab / (n² H_aa H_bb).
    """
    if gradient.along is None:
        raise ValueError("the gradient's parts along 1 and h are not known")
    ones, both, row = gradient.along.ones, gradient.along.both, gradient.along.row
    own = np.diagonal(signal.second)
    variance = dense.gain * own + dense.bias_variance
    rule = quadrature(0.0)
    u = np.sqrt(variance)[:, None] * rule.nodes
    value, slope = activation(dense.bias_mean + u), activation.slope(dense.bias_mean + u)
    swing = u * slope
    deficit = swing - value
    weights = rule.weights
    curvature = swing @ weights / np.where(variance > 0, variance, 1.0)  # E φ'' (Stein)
    output, deficits = value @ weights, deficit @ weights
    tilt = np.where(variance > 0, dense.gain * signal.mean / np.where(variance > 0, variance, 1.0), 0.0)
    left = np.maximum(dense.gain * (1 - tilt * signal.mean), 0.0)
    slope_square = slope**2 @ weights
    swing_noise = np.maximum(swing**2 @ weights - (swing @ weights) ** 2, 0.0)
    swing_deficit = (swing * deficit) @ weights - (swing @ weights) * deficits
    deficit_noise = np.maximum(deficit**2 @ weights - deficits**2, 0.0)
    gain = 1 + scale * dense.gain * curvature * signal.mean
    pull = scale * dense.gain * curvature

    second = gradient.second
    noise_of_ones = tilt**2 * swing_noise + left * slope_square
    new_ones = _outer(gain) * ones + scale**2 * _outer(np.sqrt(noise_of_ones)) * second
    new_both = gain[:, None] * (both + ones * (scale * deficits)) + scale**2 * _mean(tilt * swing_deficit) * second
    new_row = row + _symmetric(2 * scale * deficits[:, None] * both) + _outer(scale * deficits) * ones
    new_row = new_row + scale**2 * _outer(np.sqrt(deficit_noise)) * second
    crossing = (both - ones * (scale * output)) * (signal.second / np.where(own > 0, own, 1.0))
    extra = (_symmetric(2 * pull[:, None] * crossing) + _outer(pull) * signal.second * ones) / units
    return extra, Along(new_ones, new_both, new_row)


def _outer(values: Array) -> Array:
    found: Array = np.multiply.outer(values, values)
    return found


def _mean(values: Array) -> Array:
    """Of both rows of each pair."""
    found: Array = np.add.outer(values, values) / 2
    return found


def _symmetric(values: Array) -> Array:
    found: Array = (values + values.T) / 2
    return found
