"""The rules of Amazon SageMaker Debugger on histories made for each."""

import numpy as np
import numpy.typing as npt
import pytest

from service.analysis.diagnosis import Evidence, diagnose
from service.contract.recording_spec import Statistic
from tests.support.made_evidence import constant, plain, sound, with_epochs, with_loss, with_series


def fired(evidence: Evidence) -> set[str]:
    return {finding.rule for finding in diagnose(evidence, "sagemaker").findings}


def with_second_row(statistic: Statistic, values: npt.ArrayLike, activation: str = "relu") -> Evidence:
    """A run whose second row of this statistic has these values over the steps; all other rows are 0.01."""
    evidence = sound(plain(depth=3, activation=activation))
    series = constant(evidence, statistic, 0.01)
    series[1] = np.asarray(values)
    return with_series(evidence, {statistic: series})


@pytest.mark.parametrize(
    ("rule", "evidence", "quiet"),
    [
        (
            "VanishingGradient",
            with_second_row(Statistic.MEAN_ABS_GRADIENT, 0.9e-7),
            with_second_row(Statistic.MEAN_ABS_GRADIENT, 1.1e-7),
        ),
        ("DeadRelu", with_second_row(Statistic.INACTIVE_UNITS, 0.51), with_second_row(Statistic.INACTIVE_UNITS, 0.5)),
        (
            "SaturatedActivation",
            with_second_row(Statistic.FRACTION_BEYOND_SAGEMAKER, 0.51, "tanh"),
            with_second_row(Statistic.FRACTION_BEYOND_SAGEMAKER, 0.5, "tanh"),
        ),
        (
            "WeightUpdateRatio",
            with_second_row(Statistic.UPDATE_RATIO, 11.0),
            with_second_row(Statistic.UPDATE_RATIO, 9.0),
        ),
        (
            "WeightUpdateRatio",
            with_second_row(Statistic.UPDATE_RATIO, 0.9e-8),
            with_second_row(Statistic.UPDATE_RATIO, 1.1e-8),
        ),
    ],
)
def test_a_rule_fires_beyond_its_documented_threshold_only(rule: str, evidence: Evidence, quiet: Evidence) -> None:
    assert rule in fired(evidence)
    assert rule not in fired(quiet)


def test_a_finding_names_its_layer_and_steps() -> None:
    means = np.full(180, 1e-3)
    means[[20, 30]] = 1e-9

    finding = next(
        f
        for f in diagnose(with_second_row(Statistic.MEAN_ABS_GRADIENT, means), "sagemaker").findings
        if f.symptom == "vanishing"
    )

    assert finding.layers == ("dense_0",)  # the second row is its bias
    assert finding.steps == (20, 30)


def test_inactive_tanh_units_are_no_dead_relu() -> None:
    assert "DeadRelu" not in fired(with_second_row(Statistic.INACTIVE_UNITS, 1.0, "tanh"))


def test_nonfinite_gradients_explode() -> None:
    evidence = sound(plain(depth=3))
    evidence.series[Statistic.GRADIENT_NORM][2, 50] = np.inf

    assert "ExplodingTensor" in fired(evidence)


@pytest.mark.parametrize(("ratio", "step", "fires"), [(10.5, 0, True), (9.5, 0, False), (10.5, 10, False)])
def test_variances_of_weights_are_compared_in_the_first_ten_steps_only(ratio: float, step: int, fires: bool) -> None:
    evidence = sound(plain(depth=3))
    variance = constant(evidence, Statistic.WEIGHT_VARIANCE, 0.02)
    kernels = [i for i, v in enumerate(evidence.plan.rows_of(Statistic.WEIGHT_VARIANCE)) if v.role == "kernel"]
    variance[kernels[1], step] *= ratio

    assert ("PoorWeightInitialization" in fired(with_series(evidence, {Statistic.WEIGHT_VARIANCE: variance}))) == fires


def test_the_mean_loss_of_ten_steps_must_fall_by_a_tenth_of_a_percent() -> None:
    evidence = sound(plain(depth=3))
    falling = np.repeat(2 * 0.99 ** np.arange(18), 10)
    stagnant = falling.copy()
    stagnant[90:100] = stagnant[80:90]

    assert "LossNotDecreasing" not in fired(with_loss(evidence, falling))
    assert "LossNotDecreasing" in fired(with_loss(evidence, stagnant))


@pytest.mark.parametrize(("gap", "fires"), [(1.11, True), (1.09, False)])
def test_a_validation_loss_a_tenth_above_the_training_loss_is_overfitting(gap: float, fires: bool) -> None:
    evidence = sound(plain(depth=3))
    loss = np.array([2.0, 1.5, 1.2, 1.0])

    assert ("Overfit" in fired(with_epochs(evidence, loss=loss, val_loss=loss * gap))) == fires
