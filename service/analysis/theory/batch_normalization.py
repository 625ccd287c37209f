"""Batch normalization with its activation, over a batch of finite size.

No closed form is known for a small batch and every activation, and the units of a batch of rows are Gaussian processes
of their own: so a fixed number of them is drawn, always with the same seed, and the moments are taken over the draw
(the recursion is that of Yang et al. 2019).
"""

from dataclasses import dataclass

import numpy as np

from service.analysis.theory.activations import Activation, Array
from service.analysis.theory.signal import Gradient, Signal
from service.analysis.theory.stages import Found, Pullback

EPSILON = 0.001  # keras.layers.BatchNormalization's
DRAWN = 40_000  # numbers of a draw: units times rows
FEWEST_UNITS = 512
BACKWARD = 1_000_000  # added to the seed: gradients are drawn independently of what they pass through


@dataclass(frozen=True)
class NormalizeBatch:
    """norm(φ(u)), or φ(norm(u)), for Gaussian u."""

    name: str
    units: int
    activation: Activation
    before: bool  # the activation
    seed: int

    def __call__(self, signal: Signal) -> tuple[Signal, Pullback]:
        """Moments over units that are drawn; back, gradients are drawn that are independent of them."""
        value, *_ = self._drawn(signal)
        drawn = value.shape[1]

        def back(gradient: Gradient) -> tuple[Gradient, tuple[Found, ...]]:
            # Drawn anew, not kept: fifty layers of it would take as much memory as the process has.
            _, slope, normalized, deviation = self._drawn(signal)
            given = _gaussian(gradient.second, drawn, self.seed + BACKWARD)
            if self.before:
                given = given * slope
            beta = self.units * _second(given)
            gamma = self.units * _second(given * normalized)
            found = (
                Found(f"{self.name}/gamma", gamma, gradient.log_scale, gradient.log_variance),
                Found(f"{self.name}/beta", beta, gradient.log_scale, gradient.log_variance),
            )
            along = (given * normalized).mean(axis=0)
            given = (given - given.mean(axis=0) - normalized * along) / deviation
            if not self.before:
                given = given * slope
            squares = (given**2).sum(axis=0)
            own = float(squares.var() / squares.mean() ** 2) / self.units if squares.any() else 0.0
            return gradient.to(_second(given), own, response=-1.0), found

        return signal.to(value.mean(axis=1), _second(value), 0.0), back

    def _drawn(self, signal: Signal) -> tuple[Array, Array, Array, Array]:
        """Output, φ', the normalized values [rows, units] and their deviations [units]."""
        rows = len(signal.mean)
        u = signal.mean[:, None] + _gaussian(signal.covariance, max(FEWEST_UNITS, DRAWN // rows), self.seed)
        given = u if self.before else self.activation(u)
        centered = given - given.mean(axis=0)
        deviation = np.sqrt((centered**2).mean(axis=0) + EPSILON)
        normalized = centered / deviation
        if self.before:
            return self.activation(normalized), self.activation.slope(normalized), normalized, deviation
        return normalized, self.activation.slope(u), normalized, deviation


def _gaussian(covariance: Array, units: int, seed: int) -> Array:
    """Draws [rows, units] whose own second moments are the covariance, as far as their number allows."""
    rows = len(covariance)
    drawn = np.random.default_rng(seed).standard_normal((rows, units))
    if units > 2 * rows:
        drawn = np.linalg.solve(np.linalg.cholesky(_second(drawn)), drawn)
    values, vectors = np.linalg.eigh(covariance)
    found: Array = (vectors * np.sqrt(np.maximum(values, 0.0))) @ drawn
    return found


def _second(values: Array) -> Array:
    found: Array = values @ values.T / values.shape[1]
    return found
