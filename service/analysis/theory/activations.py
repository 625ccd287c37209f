"""The activations of an `mlp`, each cut into a kink and a part without one.

φ(u) = kink · max(u, 0) + smooth(u). Gaussian integrals of the kink are known in closed form, also where two rows are
nearly parallel and a series of Hermite polynomials converges slowly; those of the smooth part converge fast.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

Array: TypeAlias = npt.NDArray[np.float64]

LEAKY = 0.2  # keras.activations.leaky_relu's negative_slope
SELU_ALPHA, SELU_SCALE = 1.6732632423543772848, 1.0507009873554804934  # Klambauer et al. 2017


@dataclass(frozen=True)
class Activation:
    """An activation, its derivative, and what is known of both."""

    name: str
    smooth: Callable[[Array], Array]
    smooth_slope: Callable[[Array], Array]
    kink: float = 0.0  # jump of the derivative at 0
    degree: int | None = None  # of the smooth part, where it is a polynomial

    def __call__(self, u: Array) -> Array:
        """φ(u)."""
        return self.smooth(u) + self.kink * np.maximum(u, 0.0) if self.kink else self.smooth(u)

    def slope(self, u: Array) -> Array:
        """φ'(u)."""
        return self.smooth_slope(u) + self.kink * (u > 0) if self.kink else self.smooth_slope(u)

    @property
    def is_homogeneous(self) -> bool:
        """Whether φ(s · u) = s · φ(u) for every s > 0."""
        return self.name in ("linear", "relu", "leaky_relu")


def _piecewise_linear(name: str, below: float, above: float = 1.0) -> Activation:
    return Activation(name, lambda u: below * u, lambda u: np.full_like(u, below), above - below, degree=1)


# SciPy is imported where it is used: a process that never asks for a prediction need not hold it.


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
        _piecewise_linear("leaky_relu", LEAKY),
        Activation("sigmoid", _sigmoid, _sigmoid_slope),
        Activation("tanh", np.tanh, _tanh_slope),
        Activation("elu", _elu, _elu_slope),
        Activation("selu", lambda u: _SELU * _elu(u), lambda u: _SELU * _elu_slope(u), kink=SELU_SCALE - _SELU),
        # Keras's gelu is this form, x Φ(x), unless asked for the tanh approximation (Hendrycks and Gimpel 2016).
        Activation("gelu", lambda u: u * _normal_cdf(u), _gelu_slope),
        Activation("silu", lambda u: u * _sigmoid(u), _silu_slope),
        Activation("softplus", lambda u: np.logaddexp(u, 0.0), _sigmoid),
    )
}
