"""Vanishing and exploding gradients, and the layers that findings name."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.analysis.diagnosis import Evidence, Finding, Symptom, diagnose
from service.analysis.diagnosis.gradflow.reach import reach_of
from service.contract.recording_spec import Statistic
from tests.support.made_evidence import constant, plain, scaled_norms, sound, with_loss, with_series


def found(evidence: Evidence, symptom: Symptom) -> Finding | None:
    return next((f for f in diagnose(evidence).findings if f.symptom is symptom), None)


def by_slope(depth: int, decades: float) -> Evidence:
    """A run whose gradient loses this many decades with each hidden layer."""
    layers = {f"dense_{i}": -decades * (depth - i) for i in range(depth)}
    return scaled_norms(sound(plain(depth=depth)), layers)


@pytest.mark.parametrize("decades", [0.4, 0.63, 1.5])
def test_a_gradient_that_loses_decades_with_every_layer_vanishes(decades: float) -> None:
    finding = found(by_slope(10, decades), Symptom.VANISHING)

    assert finding is not None
    assert finding.severity == "critical"
    assert "dense_0" in finding.layers
    assert "output" not in finding.layers
    assert f"{decades:.2f} decades with every layer" in finding.explanation


def test_layers_near_the_output_that_still_learn_are_not_named() -> None:
    finding = found(by_slope(10, 0.6), Symptom.VANISHING)

    assert finding is not None
    # The reach falls below 10^-2 four layers before the output.
    assert finding.layers == tuple(f"dense_{i}" for i in range(7))


def test_a_gradient_that_is_small_at_all_depths_vanishes() -> None:
    evidence = sound(plain())
    kernels = np.array([v.role == "kernel" for v in evidence.plan.rows_of(Statistic.GRADIENT_NORM)])
    norms = np.where(kernels[:, None], 1e-5, 1.0) * evidence.series[Statistic.GRADIENT_NORM]

    finding = found(with_series(evidence, {Statistic.GRADIENT_NORM: norms}), Symptom.VANISHING)

    assert finding is not None
    assert finding.layers == tuple(f"dense_{i}" for i in range(6))
    assert finding.observed == pytest.approx(3, abs=0.2)  # decades from 10^-5 to 10^-2
    assert "at all depths alike" in finding.explanation


def test_a_single_faulty_layer_is_named_alone() -> None:
    below = {f"dense_{i}": -4.0 for i in range(4)}

    finding = found(scaled_norms(sound(plain(depth=9)), below), Symptom.VANISHING)

    assert finding is not None
    assert set(finding.layers) <= {"dense_3", "dense_4"}
    assert "at one place" in finding.explanation


def test_a_layer_with_small_weights_is_distinguished_from_its_neighbor() -> None:
    evidence = scaled_norms(sound(plain(depth=9)), {f"dense_{i}": -4.0 for i in range(4)})
    variance = constant(evidence, Statistic.WEIGHT_VARIANCE, 1 / 64)
    rows = [v.name for v in evidence.plan.rows_of(Statistic.WEIGHT_VARIANCE)]
    variance[rows.index("dense_4/kernel")] = 1e-8

    finding = found(with_series(evidence, {Statistic.WEIGHT_VARIANCE: variance}), Symptom.VANISHING)

    assert finding is not None
    assert finding.layers == ("dense_4",)


def test_a_saturated_layer_is_distinguished_from_its_neighbor() -> None:
    evidence = scaled_norms(sound(plain(depth=9, activation="tanh")), {f"dense_{i}": -4.0 for i in range(4)})
    saturated = constant(evidence, Statistic.SATURATED_FRACTION, 0.01)
    saturated[3] = 0.99

    finding = found(with_series(evidence, {Statistic.SATURATED_FRACTION: saturated}), Symptom.VANISHING)

    assert finding is not None
    assert finding.layers == ("dense_3",)


def test_a_run_with_a_single_noisy_step_is_healthy() -> None:
    evidence = sound(plain())
    norms = evidence.series[Statistic.GRADIENT_NORM].copy()
    norms[:10, 7] *= 1e-9

    assert diagnose(with_series(evidence, {Statistic.GRADIENT_NORM: norms})).verdict == "healthy"


def test_a_network_that_recovers_early_is_healthy() -> None:
    evidence = sound(plain())
    norms = evidence.series[Statistic.GRADIENT_NORM].copy()
    norms[:12, :30] *= 1e-4

    assert diagnose(with_series(evidence, {Statistic.GRADIENT_NORM: norms})).verdict == "healthy"


def test_a_gradient_that_is_small_because_the_loss_is_small_has_not_vanished() -> None:
    evidence = sound(plain())
    loss = np.geomspace(2.3, 1e-6, len(evidence.steps))
    norms = evidence.series[Statistic.GRADIENT_NORM] * -np.expm1(-loss) / -np.expm1(-evidence.step_loss)

    assert norms[:, -1].max() < 1e-4
    assert diagnose(with_loss(with_series(evidence, {Statistic.GRADIENT_NORM: norms}), loss)).verdict == "healthy"


@settings(deadline=None)
@given(st.lists(st.integers(2, 256), min_size=2, max_size=6), st.sampled_from([0.0, -0.7, 0.6]))
def test_the_diagnosis_does_not_depend_on_the_sizes_of_the_layers(units: list[int], decades: float) -> None:
    depth = len(units)
    layers = {f"dense_{i}": decades * (depth - i) for i in range(depth)}
    same = scaled_norms(sound(plain(depth=depth)), layers)
    sized = scaled_norms(sound(plain(model={"kind": "mlp", "hidden_units": units})), layers)

    assert reach_of(sized).level == pytest.approx(reach_of(same).level, abs=1e-9)
    assert diagnose(sized).verdict == diagnose(same).verdict


def test_a_gradient_that_grows_towards_the_input_explodes() -> None:
    growing = scaled_norms(sound(plain(depth=10)), {f"dense_{i}": 0.3 * (10 - i) for i in range(10)})

    finding = found(growing, Symptom.EXPLODING)

    assert finding is not None
    # The reach exceeds 10^0.9 from the fourth layer before the output.
    assert finding.layers == tuple(f"dense_{i}" for i in range(7))
    assert finding.observed == pytest.approx(2.7, abs=0.1)  # nine steps of 0.3 from the first bias to the last hidden


def test_large_inputs_do_not_make_a_gradient_explode() -> None:
    evidence = sound(plain(depth=4))
    kernels = np.array([v.role == "kernel" for v in evidence.plan.rows_of(Statistic.GRADIENT_NORM)])
    norms = np.where(kernels[:, None], 100.0, 1.0) * evidence.series[Statistic.GRADIENT_NORM]

    assert found(with_series(evidence, {Statistic.GRADIENT_NORM: norms}), Symptom.EXPLODING) is None


def test_a_gradient_that_grows_from_step_to_step_explodes_before_it_becomes_nonfinite() -> None:
    evidence = sound(plain(), steps=6)
    growth = 10.0 ** np.arange(6)
    norms = evidence.series[Statistic.GRADIENT_NORM] * growth
    norms[:, -1] = np.nan
    loss = np.array([2.3, 9.0, 400.0, 9e4, 1e9, np.nan])

    finding = found(with_loss(with_series(evidence, {Statistic.GRADIENT_NORM: norms}), loss, 5), Symptom.EXPLODING)

    assert finding is not None
    assert finding.steps == (2, 4)
    assert "9.00e+04" not in finding.explanation
    assert "1e+09" in finding.explanation


def test_the_numbers_of_an_explanation_follow_from_the_recorded_values() -> None:
    evidence = by_slope(10, 0.6)
    finding = found(evidence, Symptom.VANISHING)
    assert finding is not None
    norms = evidence.series[Statistic.GRADIENT_NORM]
    rows = [v.name for v in evidence.plan.rows_of(Statistic.GRADIENT_NORM)]

    first, last = (np.median(norms[rows.index(f"{layer}/kernel")]) for layer in ("dense_0", "output"))

    assert f"{first:.2e}" in finding.explanation
    assert f"{last:.2e}" in finding.explanation
    by_hand = np.log10(norms[rows.index("dense_0/kernel")] / (8 * -np.expm1(-evidence.step_loss)))
    assert f"10^{np.median(by_hand):.1f}" in finding.explanation
    assert finding.observed == pytest.approx(np.mean(-2 - by_hand))
