"""Batch normalization together with its activation, for a batch of finite size.

There is no closed form for a small batch and every activation. So a fixed number of units is drawn, always with the
same seed, and moments are taken over the drawn units. The recursion is that of Yang et al. 2019 ("A Mean Field Theory
of Batch Normalization").
"""

from dataclasses import dataclass

import numpy as np

from service.analysis.theory.activations import Activation, Array
from service.analysis.theory.layer_maps import Pullback, VariableMoments
from service.analysis.theory.signal import Gradient, Signal

EPSILON = 0.001  # default epsilon of keras.layers.BatchNormalization
DRAWN_VALUES = 40_000  # units times samples of one draw
MIN_UNITS = 512
GRADIENT_SEED = 1_000_000  # added to the seed, so that gradients are drawn independently of the activations


@dataclass(frozen=True)
class NormalizeBatch:
    """Maps Gaussian u to norm(φ(u)), or to φ(norm(u)) if `before`."""

    name: str
    units: int
    activation: Activation
    before: bool  # normalization comes before the activation
    seed: int

    def __call__(self, signal: Signal) -> tuple[Signal, Pullback]:
        """Propagate the moments of drawn units; the pullback draws gradients that are independent of them.

        Args:
            signal: moments of u for all samples of the batch, which are normalized together.

        Returns:
            Moments of the output, and the backward pass through both layers, which also gives gamma and beta.
        """
        value, *_ = self._drawn(signal)
        drawn = value.shape[1]

        def pullback(gradient: Gradient) -> tuple[Gradient, tuple[VariableMoments, ...]]:
            # Drawn again instead of kept: the draws of fifty layers would take too much memory.
            _, slope, normalized, deviation = self._drawn(signal)
            arriving = _gaussian(gradient.second, drawn, self.seed + GRADIENT_SEED)
            if self.before:
                arriving = arriving * slope
            beta = self.units * _second(arriving)
            gamma = self.units * _second(arriving * normalized)
            variables = (
                VariableMoments(f"{self.name}/gamma", gamma, gradient.log_scale, gradient.log_variance),
                VariableMoments(f"{self.name}/beta", beta, gradient.log_scale, gradient.log_variance),
            )
            along = (arriving * normalized).mean(axis=0)
            arriving = (arriving - arriving.mean(axis=0) - normalized * along) / deviation
            if not self.before:
                arriving = arriving * slope
            squares = (arriving**2).sum(axis=0)
            own = float(squares.var() / squares.mean() ** 2) / self.units if squares.any() else 0.0
            return gradient.to(_second(arriving), own, response=-1.0), variables

        return signal.to(value.mean(axis=1), _second(value), 0.0), pullback

    def _drawn(self, signal: Signal) -> tuple[Array, Array, Array, Array]:
        """Output, φ' and normalized values [samples, units], and the standard deviation of each unit [units]."""
        samples = len(signal.mean)
        u = signal.mean[:, None] + _gaussian(signal.covariance, max(MIN_UNITS, DRAWN_VALUES // samples), self.seed)
        values = u if self.before else self.activation(u)
        centered = values - values.mean(axis=0)
        deviation = np.sqrt((centered**2).mean(axis=0) + EPSILON)
        normalized = centered / deviation
        if self.before:
            return self.activation(normalized), self.activation.slope(normalized), normalized, deviation
        return normalized, self.activation.slope(u), normalized, deviation


def _gaussian(covariance: Array, units: int, seed: int) -> Array:
    """Gaussian draws [samples, units] whose empirical second moments equal the covariance if there are enough units."""
    samples = len(covariance)
    drawn = np.random.default_rng(seed).standard_normal((samples, units))
    if units > 2 * samples:
        drawn = np.linalg.solve(np.linalg.cholesky(_second(drawn)), drawn)
    values, vectors = np.linalg.eigh(covariance)
    found: Array = (vectors * np.sqrt(np.maximum(values, 0.0))) @ drawn
    return found


def _second(values: Array) -> Array:
    """Second moments over units [samples, samples]."""
    found: Array = values @ values.T / values.shape[1]
    return found
