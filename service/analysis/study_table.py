"""Table of a study: mean, standard deviation and 95 % confidence interval over replicates."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
from pydantic import Field

CONFIDENCE = 0.95


@dataclass(frozen=True)
class Measured:
    """One experiment of a study."""

    axes: Mapping[str, Any]  # axis -> value, without the axes that are seeds
    metrics: Mapping[str, float | None] | None  # None unless the experiment succeeded
    diverged: bool = False


@dataclass(frozen=True)
class MetricSummary:
    """Statistics of one metric over replicates."""

    count: Annotated[int, Field(description="Replicates with a finite value.")]
    mean: float | None
    std: Annotated[
        float | None,
        Field(description="Sample standard deviation, with count − 1 in the denominator; null for one replicate."),
    ]
    ci95: Annotated[
        float | None, Field(description="Half the width of Student's 95 % confidence interval around the mean.")
    ]


@dataclass(frozen=True)
class TableRow:
    """One combination of values of the axes that are not seeds."""

    axes: Mapping[str, Any]
    replicates: Annotated[int, Field(description="Experiments that succeeded.")]
    missing: Annotated[int, Field(description="Experiments that failed, were cancelled or deleted, or have not ended.")]
    diverged: Annotated[int, Field(description="Replicates whose loss or gradient became NaN or infinite.")]
    metrics: Mapping[str, MetricSummary]


def table(experiments: Sequence[Measured], metrics: Sequence[str]) -> list[TableRow]:
    """Group experiments by their axis values and summarize each metric.

    Args:
        experiments: all experiments of a study, in the order of its grid.
        metrics: names of the metrics to summarize.

    Returns:
        One row per combination of axis values, in the order of first occurrence. Values are compared as JSON, so that
        1, True and "1" differ.
    """
    groups: dict[str, list[Measured]] = {}
    for experiment in experiments:
        groups.setdefault(json.dumps(experiment.axes), []).append(experiment)
    rows = []
    for members in groups.values():
        succeeded = [member.metrics for member in members if member.metrics is not None]
        summaries = {name: summary([known.get(name) for known in succeeded]) for name in metrics}
        diverged = sum(member.diverged for member in members)
        rows.append(TableRow(members[0].axes, len(succeeded), len(members) - len(succeeded), diverged, summaries))
    return rows


def summary(values: Sequence[float | None]) -> MetricSummary:
    """Mean, standard deviation and confidence interval of the values that are finite numbers.

    Args:
        values: one value per replicate; None, NaN and infinity do not count.

    Returns:
        The summary. A single value has neither standard deviation nor interval; a result outside the range of a
        float64 is None.
    """
    numbers = np.array([value for value in values if value is not None and math.isfinite(value)], np.float64)
    count = len(numbers)
    if count == 0:
        return MetricSummary(0, None, None, None)
    with np.errstate(over="ignore", invalid="ignore"):  # losses of diverged runs may overflow
        mean = _finite(numbers.mean())
        std = _finite(numbers.std(ddof=1)) if count > 1 else None
    ci95 = None if std is None else _finite(student_t(count - 1) * std / math.sqrt(count))
    return MetricSummary(count, mean, std, ci95)


def _finite(number: float) -> float | None:
    return float(number) if math.isfinite(number) else None


def student_t(degrees: int, confidence: float = CONFIDENCE) -> float:
    """Two-sided quantile of Student's t distribution.

    Args:
        degrees: degrees of freedom, at least 1.
        confidence: probability between 0 and 1.

    Returns:
        The t for which a variable with this distribution lies within ±t with this probability.
    """
    from scipy.special import stdtrit  # imported on first use: most API processes never compute a table

    return float(stdtrit(degrees, (1 + confidence) / 2))
