"""A study's table: mean, standard deviation and 95 % interval over replicates."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

CONFIDENCE = 0.95


@dataclass(frozen=True)
class Measured:
    """An experiment of a study: the values of the axes that are not seeds, and its figures if it succeeded."""

    axes: Mapping[str, Any]
    figures: Mapping[str, float | None] | None
    diverged: bool = False


@dataclass(frozen=True)
class Summary:
    """A figure over the replicates that have it."""

    count: int
    mean: float | None
    std: float | None  # of a sample: over count − 1
    ci95: float | None  # half the width of the interval around the mean


@dataclass(frozen=True)
class Row:
    """One combination of the axes that are not seeds."""

    axes: Mapping[str, Any]
    replicates: int  # experiments that succeeded
    missing: int  # that failed, were cancelled or deleted, or have not ended
    diverged: int  # of the replicates
    metrics: Mapping[str, Summary]


def table(experiments: Sequence[Measured], figures: Sequence[str]) -> list[Row]:
    """One row for each combination of axis values, in the order in which they first occur."""
    groups: dict[str, list[Measured]] = {}
    for experiment in experiments:
        groups.setdefault(json.dumps(experiment.axes), []).append(experiment)
    rows = []
    for members in groups.values():
        ended = [m.figures for m in members if m.figures is not None]
        metrics = {name: summary([of.get(name) for of in ended]) for name in figures}
        diverged = sum(m.diverged for m in members)
        rows.append(Row(members[0].axes, len(ended), len(members) - len(ended), diverged, metrics))
    return rows


def summary(values: Sequence[float | None]) -> Summary:
    """Of the values that are numbers; one alone has no interval, and none has what is beyond a float64."""
    numbers = np.array([value for value in values if value is not None and math.isfinite(value)], np.float64)
    count = len(numbers)
    if count == 0:
        return Summary(0, None, None, None)
    with np.errstate(over="ignore", invalid="ignore"):  # losses of runs that diverged
        mean = _finite(numbers.mean())
        std = _finite(numbers.std(ddof=1)) if count > 1 else None
    ci95 = None if std is None else _finite(student_t(count - 1) * std / math.sqrt(count))
    return Summary(count, mean, std, ci95)


def _finite(number: float) -> float | None:
    return float(number) if math.isfinite(number) else None


@lru_cache
def student_t(degrees: int, confidence: float = CONFIDENCE) -> float:
    """T for which a Student-t variable of these degrees of freedom lies within ± t with this probability."""
    low, high = 0.0, 1.0
    while _within(high, degrees) < confidence:
        high *= 2
    while high - low > 1e-13 * high:
        middle = (low + high) / 2
        low, high = (middle, high) if _within(middle, degrees) < confidence else (low, middle)
    return (low + high) / 2


def _within(t: float, degrees: int) -> float:
    """A(t, degrees) of Abramowitz and Stegun, Handbook of Mathematical Functions, 26.7.3 and 26.7.4."""
    theta = math.atan(t / math.sqrt(degrees))
    sine, cosine = math.sin(theta), math.cos(theta)
    odd = degrees % 2
    if degrees == 1:
        return 2 * theta / math.pi
    term = total = cosine if odd else 1.0
    for k in range(3 if odd else 2, degrees - 1, 2):
        term *= (k - 1) / k * cosine**2
        total += term
    return 2 / math.pi * (theta + sine * total) if odd else sine * total
