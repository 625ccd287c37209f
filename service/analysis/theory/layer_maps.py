"""Mean-field maps of the parts of a hidden layer: moments forward, and gradients back through the same part.

Dense layers and activations follow Poole et al. 2016 and Schoenholz et al. 2017; fluctuations at finite width follow
Hanin and Nica 2020. docs/theory.md has the equations.
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

CHI_SQUARE_POINTS = 256  # equally likely values that represent the distribution of a squared standard normal
LAYER_EPSILON = 0.001  # default epsilon of keras.layers.LayerNormalization


class LogNorm(NamedTuple):
    """Distribution of the natural logarithm of a squared norm."""

    mean: float
    variance: float
    width_variance: float  # the part of the variance that vanishes as the layers become wide


@dataclass(frozen=True)
class VariableMoments:
    """Squared gradient norm of one variable, as a sum over pairs of samples.

    The mean over weights of the squared norm is the sum of `pairs` over all pairs of the batch, divided by batch².
    """

    name: str  # layer/role
    pairs: Array  # [samples, samples], divided by exp(log_scale)
    log_scale: float  # natural logarithm of the factor of `pairs`
    log_variance: float  # variance of the logarithm of the squared norm, over networks of this width
    log_excess: float = 0.0  # mean of that logarithm minus that of a log-normal with the same mean square
    directed: float = 0.0  # fraction that is the square of a single random number

    def width_effect(self) -> LogNorm:
        """What finite width adds to the logarithm of the mean square."""
        directed = min(self.directed, 1.0)
        points = np.log(1 - directed + directed * _chi_square())
        variance = float(points.var()) + self.log_variance
        mean = float(points.mean()) - self.log_variance / 2 + self.log_excess
        return LogNorm(mean, variance, variance)


Pullback: TypeAlias = Callable[[Gradient], tuple[Gradient, tuple[VariableMoments, ...]]]


class LayerMap(Protocol):
    """Propagates moments through one part of a network."""

    def __call__(self, signal: Signal) -> tuple[Signal, Pullback]:
        """Propagate a signal forward.

        Args:
            signal: moments before the part.

        Returns:
            Moments after the part, and its pullback: a function from the gradient after the part to the gradient before
            it and the squared gradient norms of its variables, ordered from input to output.
        """


@dataclass(frozen=True)
class Dense:
    """u = h W + b with independent entries, so that u is Gaussian over units by the central limit theorem."""

    name: str
    fan_in: int
    fan_out: int
    weight_variance: float
    bias_mean: float = 0.0
    bias_variance: float = 0.0
    orthogonal: bool = False
    ends_a_block: bool = False  # its output is added to h: no activation follows that counts its fluctuation
    reads_a_sum: bool = False  # its input is a sum: no activation precedes that counts its fluctuation

    @property
    def gain(self) -> float:
        """σ_w² = fan-in · Var W."""
        return self.fan_in * self.weight_variance

    def __call__(self, signal: Signal) -> tuple[Signal, Pullback]:
        """Propagate K = σ_w² H + σ_b² (Poole et al. 2016)."""
        before = signal.second
        second = self.gain * before + self.bias_variance + self.bias_mean**2
        share = fraction_of(self.gain * before, second)

        def pullback(gradient: Gradient) -> tuple[Gradient, tuple[VariableMoments, ...]]:
            bias = self.fan_out * gradient.second
            response = share * gradient.response
            drawn = gradient.response**2 * own * signal.common(second)

            def variable(role: str, pairs: Array, power: int) -> VariableMoments:
                """Moments of a norm; its square is h² to this power times the squared gradient, a function of h²."""
                direct, whole = power * signal.log_variance, (power + response) ** 2 * signal.log_variance + drawn
                excess = gradient.log_excess + (whole - direct) / 2
                variance = gradient.log_variance + whole
                name = f"{self.name}/{role}"
                return VariableMoments(name, pairs, gradient.log_scale, variance, excess, gradient.directed)

            variables = (variable("kernel", self.fan_in * before * bias, 1), variable("bias", bias, 0))
            at_input = self.weight_variance * bias
            own_back = 2 / self.fan_in * signal.common(at_input) if self.reads_a_sum else 0.0
            along = directions.unrelated(at_input, signal)
            made = gradient.to(at_input, own_back, along=along, response=response, of_response=drawn)
            return replace(made, fixed=self.orthogonal and self.fan_in >= self.fan_out), variables

        mean = np.full(len(before), self.bias_mean)
        own = 2 / self.fan_out if self.ends_a_block else 0.0
        made = signal.to(mean, second, share, own)
        return replace(made, fixed=self.orthogonal and self.fan_out >= self.fan_in), pullback


@dataclass(frozen=True)
class Activate:
    """φ(u) of a Gaussian signal u in a layer with this number of units."""

    activation: Activation
    units: int

    def __call__(self, signal: Signal) -> tuple[Signal, Pullback]:
        """Propagate H = E[φ φ]; the pullback multiplies by E[φ' φ'] (Schoenholz et al. 2017).

        Over n units, Σ φ² has the relative variance (E φ⁴ / (E φ²)² − 1) / n, and Σ φ'² g² with Gaussian g has
        (3 E φ'⁴ / (E φ'²)² − 1) / n: 5 / n each for ReLU (Hanin and Nica 2020, theorem 3, for a batch of one sample).
        After an isometry Σ u² does not fluctuate, and the part of the variance that follows it is absent.
        """
        moments = pair_moments(self.activation, signal.mean, signal.covariance)
        following = 2 * moments.elasticity**2 if signal.fixed else 0.0
        own = max(moments.kurtosis - 1 - following, 0.0) / self.units

        def pullback(gradient: Gradient) -> tuple[Gradient, tuple[VariableMoments, ...]]:
            following = 2.0 if gradient.fixed else 0.0
            own_back = (3 * moments.slope_kurtosis - 1 - following) / self.units * signal.common(gradient.second)
            # If derivatives nearer to the output respond to Σ φ², so does the gradient; Σ φ'² is over the same units.
            both = gradient.response * own + 2 * (moments.mixed - 1) / self.units
            more = max(gradient.response * both * signal.common(moments.second), -own_back)
            response = moments.slope_elasticity + moments.elasticity * gradient.response
            second = moments.slope * gradient.second
            return gradient.to(second, own_back, response=response, of_response=more), ()

        return signal.to(moments.mean, moments.second, moments.elasticity, own), pullback


@dataclass(frozen=True)
class NormalizeLayer:
    """Layer normalization: each sample minus its mean over units, divided by its standard deviation over units."""

    name: str
    units: int

    def __call__(self, signal: Signal) -> tuple[Signal, Pullback]:
        """Propagate (H − m mᵀ) / (s sᵀ); the pullback divides by s sᵀ.

        It also removes two of the many directions of the gradient: that of the mean and that of the sample itself.
        """
        covariance = signal.covariance
        deviation = np.sqrt(np.maximum(np.diagonal(covariance), 0.0) + LAYER_EPSILON)
        scale = np.multiply.outer(deviation, deviation)
        normalized = covariance / scale

        def pullback(gradient: Gradient) -> tuple[Gradient, tuple[VariableMoments, ...]]:
            beta = self.units * gradient.second
            known = (gradient.log_scale, gradient.log_variance, gradient.log_excess)
            variables = (
                VariableMoments(f"{self.name}/gamma", normalized * beta, *known),
                VariableMoments(f"{self.name}/beta", beta, *known),
            )
            # The mean of 1 / s² exceeds 1 / E[s²] by the relative variance of a sample's s². The mean of its logarithm
            # is lower by half the variance that the batch shares.
            excess = signal.sample_variance - signal.log_variance / 2
            remaining = gradient.second * (1 - 2 / self.units if self.units > 2 else 1.0) / scale
            return gradient.to(remaining, more_excess=excess, response=-1.0), variables

        return signal.to(np.zeros(len(scale)), normalized, 0.0), pullback


@dataclass(frozen=True)
class DropOut:
    """Keeps a unit with probability 1 − rate and scales it by 1 / (1 − rate)."""

    rate: float

    def __call__(self, signal: Signal) -> tuple[Signal, Pullback]:
        """Scale the squares of each sample by 1 / (1 − rate); two samples have independent masks."""
        factor = np.where(np.eye(len(signal.mean), dtype=bool), 1 / (1 - self.rate), 1.0)

        def pullback(gradient: Gradient) -> tuple[Gradient, tuple[VariableMoments, ...]]:
            return gradient.to(factor * gradient.second, response=gradient.response), ()

        return signal.to(signal.mean, factor * signal.second, 1.0), pullback


def chain(maps: Sequence[LayerMap], signal: Signal) -> tuple[Signal, Pullback]:
    """Compose maps from input to output.

    Returns:
        Moments after the last map, and the pullback through all of them. It lists variables from input to output.
    """
    pullbacks = []
    for layer_map in maps:
        signal, pullback = layer_map(signal)
        pullbacks.append(pullback)

    def through_all(gradient: Gradient) -> tuple[Gradient, tuple[VariableMoments, ...]]:
        variables: tuple[VariableMoments, ...] = ()
        for pullback in reversed(pullbacks):
            gradient, found = pullback(gradient)
            variables = found + variables
        return gradient, variables

    return signal, through_all


def fraction_of(part: Array, whole: Array) -> float:
    """Trace of `part` divided by that of `whole` [samples, samples]; 0 if `whole` has none."""
    return float(np.trace(part) / np.trace(whole)) if np.trace(whole) > 0 else 0.0


@cache
def _chi_square() -> Array:
    """Equally likely values of a squared standard normal [CHI_SQUARE_POINTS]."""
    from scipy.special import ndtri

    found: Array = ndtri((np.arange(CHI_SQUARE_POINTS) + 0.5) / CHI_SQUARE_POINTS) ** 2
    return found
