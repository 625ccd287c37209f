"""Mean and variance of the entries that an initializer draws."""

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

# Variance of a standard normal truncated at two standard deviations: 1 − 4 φ(2) / (2 Φ(2) − 1).
TRUNCATED_VARIANCE = 0.7737413035499232


class EntryMoments(NamedTuple):
    """Moments of one entry of a variable at initialization."""

    mean: float
    variance: float


def of_kernel(initializer: Initializer, fan_in: int, fan_out: int, layer: str) -> EntryMoments:
    """Moments of an entry of a kernel [fan_in, fan_out]; the mean is 0.

    Args:
        initializer: the initializer of the kernel.
        fan_in: number of inputs.
        fan_out: number of units.
        layer: name of the layer, for the message of an error.

    Raises:
        NoTheory: the entries are not random, not independent, or not centered at 0.
    """
    match initializer:
        case Fixed() | Constant():
            raise NoTheory(
                f"{layer}: with equal weights all units of a layer are equal, so there is no average over units"
            )
        case Identity():
            raise NoTheory(f"{layer}: an identity kernel passes each unit on alone, so no unit is a sum of many others")
    mean, variance = _drawn(initializer, fan_in, fan_out)
    if mean != 0.0:
        raise NoTheory(f"{layer}: weights centered around {mean:g} instead of 0 move all units of a layer together")
    if variance == 0.0:
        raise NoTheory(f"{layer}: all weights are 0")
    return EntryMoments(mean, variance)


def of_bias(initializer: Initializer, units: int) -> EntryMoments:
    """Moments of an entry of a bias [units]."""
    return _drawn(initializer, units, units)


def _drawn(initializer: Initializer, fan_in: int, fan_out: int) -> EntryMoments:
    """Moments as Keras defines its initializers (Glorot and Bengio 2010, He et al. 2015)."""
    match initializer:
        case Fixed(name=name):
            return EntryMoments(1.0 if name == "ones" else 0.0, 0.0)
        case Constant(value=value):
            return EntryMoments(value, 0.0)
        case Scaled(name=name):
            fan = {"glorot": (fan_in + fan_out) / 2, "he": fan_in / 2, "lecun": fan_in}[name.partition("_")[0]]
            return EntryMoments(0.0, 1 / fan)
        case VarianceScaling(scale=scale, mode=mode):
            fan = {"fan_in": fan_in, "fan_out": fan_out, "fan_avg": (fan_in + fan_out) / 2}[mode]
            return EntryMoments(0.0, scale / fan)
        case Normal(mean=mean, stddev=stddev):
            return EntryMoments(mean, stddev**2)
        case TruncatedNormal(mean=mean, stddev=stddev):
            return EntryMoments(mean, TRUNCATED_VARIANCE * stddev**2)
        case Uniform(minval=low, maxval=high):
            return EntryMoments((low + high) / 2, (high - low) ** 2 / 12)
        case Orthogonal(gain=gain):
            return EntryMoments(0.0, gain**2 / max(fan_in, fan_out))
        case Identity(gain=gain):
            return EntryMoments(gain / max(fan_in, fan_out), 0.0)
        case _:
            assert_never(initializer)
