"""What an initializer draws: mean and variance of an entry."""

from typing import NamedTuple, assert_never

from service.analysis.theory.prediction import NoTheory
from service.contract.network.initializers import (
    Constant,
    Fixed,
    Identity,
    Initializer,
    Normal,
    Orthogonal,
    Scaled,
    TruncatedNormal,
    Uniform,
    VarianceScaling,
)

# Variance of a standard normal without what is beyond two deviations: 1 − 4 φ(2) / (2 Φ(2) − 1).
TRUNCATED = 0.7737413035499232


class Drawn(NamedTuple):
    """Of one entry."""

    mean: float
    variance: float


def of_kernel(initializer: Initializer, fan_in: int, fan_out: int, layer: str) -> Drawn:
    """Mean 0 and the variance of an entry of a kernel [fan_in, fan_out].

    Raises:
        NoTheory: the entries are not drawn independently around 0.
    """
    match initializer:
        case Fixed() | Constant():
            raise NoTheory(f"{layer}: with equal weights all units of a layer are one, and there is nothing to average")
        case Identity():
            raise NoTheory(f"{layer}: an identity kernel passes each unit on by itself: no unit sums over many others")
    mean, variance = _drawn(initializer, fan_in, fan_out)
    if mean != 0.0:
        raise NoTheory(f"{layer}: weights around {mean:g} instead of 0 move all units of a layer together")
    if variance == 0.0:
        raise NoTheory(f"{layer}: all weights are 0")
    return Drawn(mean, variance)


def of_bias(initializer: Initializer, units: int) -> Drawn:
    """Mean and variance of an entry of a bias."""
    return _drawn(initializer, units, units)


def _drawn(initializer: Initializer, fan_in: int, fan_out: int) -> Drawn:
    match initializer:
        case Fixed(name=name):
            return Drawn(1.0 if name == "ones" else 0.0, 0.0)
        case Constant(value=value):
            return Drawn(value, 0.0)
        case Scaled(name=name):
            fan = {"glorot": (fan_in + fan_out) / 2, "he": fan_in / 2, "lecun": fan_in}[name.partition("_")[0]]
            return Drawn(0.0, 1 / fan)
        case VarianceScaling(scale=scale, mode=mode):
            fan = {"fan_in": fan_in, "fan_out": fan_out, "fan_avg": (fan_in + fan_out) / 2}[mode]
            return Drawn(0.0, scale / fan)
        case Normal(mean=mean, stddev=stddev):
            return Drawn(mean, stddev**2)
        case TruncatedNormal(mean=mean, stddev=stddev):
            return Drawn(mean, TRUNCATED * stddev**2)
        case Uniform(minval=low, maxval=high):
            return Drawn((low + high) / 2, (high - low) ** 2 / 12)
        case Orthogonal(gain=gain):
            return Drawn(0.0, gain**2 / max(fan_in, fan_out))
        case Identity(gain=gain):
            return Drawn(gain / max(fan_in, fan_out), 0.0)
        case _:
            assert_never(initializer)
