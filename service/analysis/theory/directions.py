"""The part of a gradient that residual blocks φ(h W + b) pass back along directions that are not random.

The Jacobian of such a block has the mean Var W · E[φ''] · 1 hᵀ over weights. In a layer of n units that is of order
1 / n, but it accumulates from block to block and dominates at depth. So three numbers of the gradient g of a sample at
h are followed, by their second moments over weights:

- s = Σ g / √n, the component along the vector of ones;
- p = Σ g h / √n, the product with h;
- a, √n times the coefficient of h in g.

For a bias-free ReLU network p never changes, since f = Σ h ∂f/∂h (Euler's theorem for homogeneous functions), and the
part of g along h has the second moment E f_a f_b · H_ab / (n² H_aa H_bb).
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from service.analysis.theory.activations import Activation, Array
from service.analysis.theory.gaussian import quadrature
from service.analysis.theory.signal import Signal


@dataclass(frozen=True)
class Layer:
    """The parameters of φ(h W + b)."""

    activation: Activation
    gain: float  # σ_w²
    bias_mean: float
    bias_variance: float


def unrelated(second: Array, signal: Signal) -> Array:
    """Moments of (s, p, a) for a gradient that is independent of h.

    Args:
        second: [samples, samples], second moments of the gradient over units.
        signal: moments of h.

    Returns:
        [3, 3, samples, samples].
    """
    found = np.zeros((3, 3, *second.shape))
    found[0, 0] = second
    found[0, 1], found[1, 0] = second * signal.mean[None, :], second * signal.mean[:, None]
    found[1, 1] = second * signal.second
    return found


@dataclass(frozen=True)
class ActivatedBlock:
    """The backward pass through h + α · φ(h W + b)."""

    layer: Layer
    scale: float  # α
    signal: Signal  # moments of h

    def added(self, moments: Array) -> Array:
        """What the mean Jacobian, and the weights that g depends on, add to the second moments of g.

        Args:
            moments: [3, 3, samples, samples], moments of (s, p, a) after the block.

        Returns:
            [samples, samples], multiplied by the number of units n.
        """
        own = np.diagonal(self.signal.second)
        tilted = self._form(self._pull, self._pull, moments) * self.signal.second
        across = self._form(self._pull, self._overlap, moments) * self.signal.second / np.where(own > 0, own, 1.0)
        found: Array = tilted + across + across.T + moments[2, 2] * _pairs(self._excess)
        return found

    def pulled_back(self, second: Array, moments: Array) -> Array:
        """The moments of (s, p, a) before the block.

        Args:
            second: [samples, samples], second moments of the gradient after the block.
            moments: [3, 3, samples, samples], moments of (s, p, a) after the block.

        Returns:
            [3, 3, samples, samples].
        """
        found: Array = np.einsum("ija,jkab,lkb->ilab", self._map, moments, self._map)
        swing, deficit, _, _ = self._values
        tilt, remaining = self._tilt
        noise = np.zeros_like(found)
        noise[0, 0] = _pairs(tilt**2 * self._covariance(swing, swing) + remaining * self._slope_square)
        across = tilt * self._covariance(swing, deficit)
        noise[0, 1] = noise[1, 0] = np.add.outer(across, across) / 2
        noise[1, 1] = _pairs(self._covariance(deficit, deficit))
        return found + self.scale**2 * noise * second

    @cached_property
    def _variance(self) -> Array:
        """Var u [samples] for u = h W + b."""
        return self.layer.gain * np.diagonal(self.signal.second) + self.layer.bias_variance

    @cached_property
    def _u(self) -> Array:
        """The deviation of u from its mean, at the quadrature nodes [samples, nodes]."""
        return np.sqrt(self._variance)[:, None] * quadrature(0.0).nodes

    @cached_property
    def _values(self) -> tuple[Array, Array, Array, Array]:
        """The values of u φ', u φ' − φ, φ and φ' at the quadrature nodes, each [samples, nodes]."""
        u = self._u
        activation, center = self.layer.activation, self.layer.bias_mean
        value, slope = activation(center + u), activation.slope(center + u)
        return u * slope, u * slope - value, value, slope

    @cached_property
    def _slope_square(self) -> Array:
        """E φ'² [samples]."""
        return _expected(self._values[3] ** 2)

    @cached_property
    def _curvature(self) -> Array:
        """E φ'' = E[u φ'] / Var u (Stein's lemma) [samples]."""
        return _over(_expected(self._values[0]), self._variance)

    @cached_property
    def _tilt(self) -> tuple[Array, Array]:
        """In Σ_i W_ij = tilt · u_j + rest: the tilt, and the variance of the rest, each [samples]."""
        tilt = _over(self.layer.gain * self.signal.mean, self._variance)
        return tilt, np.maximum(self.layer.gain * (1 - tilt * self.signal.mean), 0.0)

    @cached_property
    def _pull(self) -> Array:
        """Coefficients [3, samples] of (s, p, a) in the increase of a."""
        value, slope = self._values[2:]
        known = _over(self._covariance(self._u, value * slope), self._variance) - self._curvature * _expected(value)
        gain = self.scale * self.layer.gain
        return np.array([gain * self._curvature, np.zeros_like(known), gain * self.scale * known])

    @cached_property
    def _overlap(self) -> Array:
        """Coefficients [3, samples] of (s, p, a) in Σ g h / √n, with g after the block and h before it."""
        value = self._values[2]
        one = np.ones(len(value))
        return np.array([-self.scale * _expected(value), one, -(self.scale**2) * self._covariance(value, value)])

    @cached_property
    def _map(self) -> Array:
        """The linear map [3, 3, samples] from (s, p, a) after the block to those before it."""
        swing, deficit, value, _ = self._values
        found = np.zeros((3, 3, len(value)))
        found[0, 0] = 1 + self.scale * self.layer.gain * self._curvature * self.signal.mean
        found[0, 2] = self.scale**2 * self._tilt[0] * self._covariance(swing, value)
        found[1, 0] = self.scale * _expected(deficit)
        found[1, 1] = 1
        found[1, 2] = self.scale**2 * self._covariance(deficit, value)
        found[2] = self._pull
        found[2, 2] += 1
        return found

    @cached_property
    def _excess(self) -> Array:
        """The excess [samples] of σ_w² E[φ'² g²] over σ_w² E φ'² E g², for g = h + α φ."""
        value, slope = self._values[2:]
        mean = self.signal.mean
        first = 2 * self.scale * mean * self._covariance(slope**2, value)
        excess = first + self.scale**2 * self._covariance(slope**2, value**2)
        return np.maximum(self.scale**2 * self.layer.gain * excess, 0.0)

    def _covariance(self, a: Array, b: Array) -> Array:
        """Covariance [samples] of two functions of u at the quadrature nodes."""
        return _expected(a * b) - _expected(a) * _expected(b)

    def _form(self, a: Array, b: Array, moments: Array) -> Array:
        found: Array = np.einsum("ia,ijab,jb->ab", a, moments, b)
        return found


def _expected(values: Array) -> Array:
    """Gaussian expectation [samples] of values at the quadrature nodes."""
    found: Array = values @ quadrature(0.0).weights
    return found


def _over(a: Array, b: Array) -> Array:
    """The quotient a / b; 0 where b is not positive."""
    return np.divide(a, b, out=np.zeros_like(a), where=b > 0)


def _pairs(squares: Array) -> Array:
    """Geometric mean of the squares of each pair of samples [samples, samples]."""
    root = np.sqrt(np.maximum(squares, 0.0))
    found: Array = np.multiply.outer(root, root)
    return found
