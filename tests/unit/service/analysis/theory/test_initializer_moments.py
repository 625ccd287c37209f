"""Moments of initializers, compared with draws."""

import numpy as np
import pytest
from pydantic import TypeAdapter

from service.analysis.theory.initializer_moments import of_bias, of_kernel
from service.analysis.theory.prediction import NoTheory
from service.contract.network.initializers import Initializer
from tests.support.simulated_networks import draw

RANDOM = [
    *("glorot_uniform", "glorot_normal", "he_uniform", "he_normal", "lecun_uniform", "lecun_normal", "orthogonal"),
    *("normal", "random_normal", "truncated_normal", "uniform", "random_uniform", "variance_scaling"),
    {"name": "orthogonal", "gain": 1.7},
    {"name": "truncated_normal", "stddev": 0.4},
    {"name": "uniform", "minval": -0.3, "maxval": 0.3},
    {"name": "variance_scaling", "scale": 0.5, "mode": "fan_out", "distribution": "uniform"},
    {"name": "variance_scaling", "scale": 3.0, "mode": "fan_avg", "distribution": "untruncated_normal"},
]


def _initializer(spec: object) -> Initializer:
    found: Initializer = TypeAdapter(Initializer).validate_python(spec)
    return found


@pytest.mark.parametrize("spec", RANDOM, ids=str)
@pytest.mark.parametrize("shape", [(300, 200), (200, 300)])
def test_the_variance_equals_that_of_draws(spec: object, shape: tuple[int, int]) -> None:
    initializer = _initializer(spec)

    drawn = draw(initializer, shape, np.random.default_rng(1))

    expected = of_kernel(initializer, *shape, "dense_0")
    assert expected.mean == 0
    assert expected.variance == pytest.approx(drawn.var(), rel=0.02)  # three standard errors of 60,000 entries


@pytest.mark.parametrize(
    ("spec", "why"),
    [
        ("zeros", "equal weights"),
        ("ones", "equal weights"),
        ({"name": "constant", "value": 0.3}, "equal weights"),
        ("identity", "identity"),
        ({"name": "normal", "mean": 0.1}, "around 0.1"),
        ({"name": "uniform", "minval": 0.0, "maxval": 0.2}, "around 0.1"),
        ({"name": "normal", "stddev": 0.0}, "all weights are 0"),
    ],
)
def test_kernels_without_a_theory_are_refused_with_the_reason(spec: object, why: str) -> None:
    with pytest.raises(NoTheory, match=f"dense_7: .*{why}"):
        of_kernel(_initializer(spec), 10, 10, "dense_7")


@pytest.mark.parametrize("spec", [*RANDOM[:6], "zeros", "ones", {"name": "constant", "value": -2.0}], ids=str)
def test_biases_may_use_any_initializer(spec: object) -> None:
    initializer = _initializer(spec)

    drawn = draw(initializer, (40_000,), np.random.default_rng(2))

    expected = of_bias(initializer, 40_000)
    assert expected.mean == pytest.approx(drawn.mean(), abs=1e-3)
    assert expected.variance == pytest.approx(drawn.var(), rel=0.03)
