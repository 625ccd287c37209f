"""The activations of an `mlp`, each as the sum of a kink at 0 and a function with a continuous derivative.

φ(u) = kink · max(u, 0) + smooth(u). Gaussian integrals of the kink have a closed form, which matters for two samples
that are nearly parallel: a series of Hermite polynomials converges slowly there. The series of the smooth part
converges fast.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

Array: TypeAlias = npt.NDArray[np.float64]

LEAKY_SLOPE = 0.2  # default negative_slope of keras.activations.leaky_relu
SELU_ALPHA, SELU_SCALE = 1.6732632423543772848, 1.0507009873554804934  # Klambauer et al. 2017


@dataclass(frozen=True)
class Activation:
    """An activation φ and its derivative φ'; both are elementwise functions of float64 arrays of any shape."""

    name: str  # as Keras names it
    smooth: Callable[[Array], Array]  # φ without its kink
    smooth_slope: Callable[[Array], Array]  # derivative of `smooth`
    kink: float = 0.0  # jump of φ' at 0
    degree: int | None = None  # degree of `smooth` if it is a polynomial

    def __call__(self, u: Array) -> Array:
        """φ(u)."""
        return self.smooth(u) + self.kink * np.maximum(u, 0.0) if self.kink else self.smooth(u)

    def slope(self, u: Array) -> Array:
        """φ'(u)."""
        return self.smooth_slope(u) + self.kink * (u > 0) if self.kink else self.smooth_slope(u)

    @property
    def is_homogeneous(self) -> bool:
        """Whether φ(s · u) = s · φ(u) for each s > 0."""
        return self.name in ("linear", "relu", "leaky_relu")


def _piecewise_linear(name: str, below: float, above: float = 1.0) -> Activation:
    return Activation(name, lambda u: below * u, lambda u: np.full_like(u, below), above - below, degree=1)


# SciPy is imported inside functions, so that a process that never predicts does not load it.


def _sigmoid(u: Array) -> Array:
    from scipy.special import expit

    found: Array = expit(u)
    return found


def _sigmoid_slope(u: Array) -> Array:
    p = _sigmoid(u)
    return p * (1.0 - p)


def _tanh_slope(u: Array) -> Array:
    return 1.0 - np.tanh(u) ** 2


def _elu(u: Array) -> Array:
    return np.where(u > 0, u, np.expm1(np.minimum(u, 0.0)))


def _elu_slope(u: Array) -> Array:
    return np.exp(np.minimum(u, 0.0))


def _normal_cdf(u: Array) -> Array:
    from scipy.special import ndtr

    found: Array = ndtr(u)
    return found


def _gelu_slope(u: Array) -> Array:
    found: Array = _normal_cdf(u) + u * np.exp(-(u**2) / 2) / np.sqrt(2 * np.pi)
    return found


def _silu_slope(u: Array) -> Array:
    p = _sigmoid(u)
    return p * (1.0 + u * (1.0 - p))


_SELU = SELU_ALPHA * SELU_SCALE

ACTIVATIONS: Mapping[str, Activation] = {
    a.name: a
    for a in (
        _piecewise_linear("linear", 1.0),
        _piecewise_linear("relu", 0.0),
        _piecewise_linear("leaky_relu", LEAKY_SLOPE),
        Activation("sigmoid", _sigmoid, _sigmoid_slope),
        Activation("tanh", np.tanh, _tanh_slope),
        Activation("elu", _elu, _elu_slope),
        Activation("selu", lambda u: _SELU * _elu(u), lambda u: _SELU * _elu_slope(u), kink=SELU_SCALE - _SELU),
        # Keras uses this form, x Φ(x), unless `approximate=True` (Hendrycks and Gimpel 2016).
        Activation("gelu", lambda u: u * _normal_cdf(u), _gelu_slope),
        Activation("silu", lambda u: u * _sigmoid(u), _silu_slope),
        Activation("softplus", lambda u: np.logaddexp(u, 0.0), _sigmoid),
    )
}
