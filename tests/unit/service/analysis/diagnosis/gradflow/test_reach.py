"""Reach of kernels and signals of biases."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.analysis.diagnosis import Evidence
from service.analysis.diagnosis.gradflow.reach import reach_of
from service.contract.plan import Plan
from service.contract.recording_spec import Statistic
from tests.support.made_evidence import DIGITS, plain, sound, with_loss, with_series
from tests.support.plans import plan_of


def of_rms(plan: Plan, rms: float, loss: float) -> Evidence:
    """A run in which RMS · √units of each kernel's gradient is `rms`, at a constant loss."""
    rows = plan.rows_of(Statistic.GRADIENT_NORM)
    sizes = np.array([math.prod(v.shape) / v.shape[-1] for v in rows], np.float64)
    norms = np.repeat(rms * np.sqrt(sizes)[:, None], 5, axis=1)
    return Evidence(plan, np.arange(5), {Statistic.GRADIENT_NORM: norms}, np.full(5, loss), {})


@given(st.lists(st.integers(1, 300), min_size=1, max_size=5), st.floats(1e-6, 1e3))
def test_the_reach_does_not_depend_on_the_sizes_of_the_layers(units: list[int], rms: float) -> None:
    plan = plan_of(model={"kind": "mlp", "hidden_units": units}, data=DIGITS)

    reach = reach_of(of_rms(plan, rms, 2.3))

    assert reach.level == pytest.approx(np.full(len(units) + 1, math.log10(rms / (1 - math.exp(-2.3)))))


@given(st.floats(1e-2, 1e6), st.floats(1e-2, 1e2))
def test_the_reach_does_not_depend_on_the_scale_of_a_squared_error(loss: float, factor: float) -> None:
    plan = plan_of(model={"kind": "mlp", "depth": 2}, data={"source": "diabetes"})
    one = of_rms(plan, 0.1, loss)
    norms = one.series[Statistic.GRADIENT_NORM] * factor  # as for targets and outputs scaled by this factor

    other = with_loss(with_series(one, {Statistic.GRADIENT_NORM: norms}), np.full(5, loss * factor**2))

    assert reach_of(other).level == pytest.approx(reach_of(one).level, abs=1e-6)


def test_the_error_follows_from_the_derivative_of_the_loss() -> None:
    levels = {
        loss: reach_of(
            of_rms(
                plan_of(model={"kind": "mlp", "depth": 1}, data={"source": "diabetes"}, training={"loss": loss}),
                1.0,
                0.08,
            )
        ).error[0]
        for loss in ("mse", "mae", "huber")
    }

    assert levels == pytest.approx({"mse": 2 * math.sqrt(0.08), "mae": 1.0, "huber": 0.4})


def test_steps_at_which_nothing_is_left_to_learn_are_not_evaluated() -> None:
    evidence = of_rms(plain(), 1.0, 2.3)

    reach = reach_of(with_loss(evidence, np.array([2.3, 1.0, 1e-2, 1e-4, 1e-9])))

    assert reach.steps.tolist() == [0, 1, 2]


def test_steps_without_a_finite_loss_or_gradient_are_not_evaluated() -> None:
    evidence = sound(plain(), steps=6)
    norms = evidence.series[Statistic.GRADIENT_NORM].copy()
    norms[3, 1] = np.nan

    reach = reach_of(
        with_loss(with_series(evidence, {Statistic.GRADIENT_NORM: norms}), np.array([2.0, 2.0, 2.0, np.nan, 2.0, 2.0]))
    )

    assert reach.steps.tolist() == [0, 2, 4, 5]


def test_a_bias_that_batch_normalization_cancels_is_replaced_by_its_beta() -> None:
    model = {"kind": "mlp", "depth": 2, "normalization": "batch", "normalization_position": "before_activation"}

    reach = reach_of(sound(plan_of(model=model, data=DIGITS), steps=3))

    assert [v.name for v in reach.biases] == [
        "batch_normalization_0/beta",
        "batch_normalization_1/beta",
        "output/bias",
    ]


def test_a_bias_before_an_activation_is_a_signal() -> None:
    reach = reach_of(sound(plan_of(model={"kind": "improved", "depth": 2}, data=DIGITS), steps=3))

    assert [v.name for v in reach.biases] == ["dense_0/bias", "dense_1/bias", "output/bias"]
