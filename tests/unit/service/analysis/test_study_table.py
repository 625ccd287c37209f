"""Means and confidence intervals over replicates."""

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.analysis.study_table import Measured, student_t, summary, table

# Two-sided 95 % quantiles of Student's t, as statistical tables print them.
PUBLISHED = {
    1: 12.706205,
    2: 4.302653,
    3: 3.182446,
    4: 2.776445,
    7: 2.364624,
    10: 2.228139,
    30: 2.042272,
    31: 2.039513,
    60: 2.000298,
    100: 1.983972,
    120: 1.979930,
}


@pytest.mark.parametrize(("degrees", "t"), PUBLISHED.items())
def test_quantiles_equal_the_published_ones(degrees: int, t: float) -> None:
    assert student_t(degrees) == pytest.approx(t, abs=1e-6)


def test_with_many_degrees_of_freedom_the_quantile_approaches_that_of_the_normal_distribution() -> None:
    assert student_t(1999) == pytest.approx(1.96, abs=2e-3)


@pytest.mark.parametrize("replicates", [2, 3, 8])
def test_the_interval_contains_the_mean_in_95_of_100_samples(replicates: int) -> None:
    random, samples = np.random.default_rng(0), 4000
    hits = 0
    for _ in range(samples):
        found = summary(list(random.normal(3.0, 2.0, replicates)))
        assert found.mean is not None
        assert found.ci95 is not None
        hits += abs(found.mean - 3.0) <= found.ci95

    deviation = math.sqrt(0.95 * 0.05 / samples)
    assert abs(hits / samples - 0.95) < 4 * deviation


@given(st.lists(st.floats(-1e6, 1e6), min_size=2, max_size=20))
def test_mean_and_standard_deviation_are_those_of_a_sample(values: list[float]) -> None:
    found = summary(values)

    assert found.count == len(values)
    assert found.mean == pytest.approx(np.mean(values))
    assert found.std == pytest.approx(np.std(values, ddof=1))
    assert found.ci95 == pytest.approx(student_t(len(values) - 1) * np.std(values, ddof=1) / math.sqrt(len(values)))


def test_values_that_are_not_finite_numbers_do_not_count() -> None:
    assert summary([1.0, None, math.nan, 3.0, math.inf]).count == 2
    assert summary([1.0, None, math.nan, 3.0, math.inf]).mean == 2.0
    assert summary([None, math.nan]).mean is None


def test_a_result_outside_the_range_of_a_float64_is_none_instead_of_infinite() -> None:
    far = summary([1e200, -1e200, 3e200])
    beyond = summary([1.7e308, 1.7e308])

    assert far.mean == pytest.approx(1e200)
    assert (far.count, far.std, far.ci95) == (3, None, None)
    assert (beyond.count, beyond.mean) == (2, None)


def test_one_replicate_has_no_interval() -> None:
    found = summary([0.7])

    assert (found.count, found.mean, found.std, found.ci95) == (1, 0.7, None, None)


def test_axis_values_that_differ_as_json_have_separate_rows() -> None:
    values: list[Any] = [1, True, "1", None, [1], {"name": "sgd"}, 1]

    found = table([Measured({"x": value}, {}) for value in values], [])

    assert [(row.axes["x"], row.replicates) for row in found] == [
        *((1, 2), (True, 1), ("1", 1), (None, 1), ([1], 1), ({"name": "sgd"}, 1)),
    ]


def test_rows_keep_the_order_of_the_grid_and_count_missing_replicates() -> None:
    experiments = [
        Measured({"depth": 2}, {"loss": 1.0}),
        Measured({"depth": 10}, {"loss": None}),
        Measured({"depth": 2}, {"loss": 3.0}),
        Measured({"depth": 10}, None),
    ]

    two, ten = table(experiments, ["loss"])

    assert (two.axes, two.replicates, two.missing, two.metrics["loss"].mean) == ({"depth": 2}, 2, 0, 2.0)
    assert (ten.axes, ten.replicates, ten.missing, ten.metrics["loss"].count) == ({"depth": 10}, 1, 1, 0)
