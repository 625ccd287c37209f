"""Amazon SageMaker Debugger's rules on series made for each."""

import numpy as np
import numpy.typing as npt
import pytest

from service.analysis.diagnosis import Evidence, diagnose
from service.contract.recording_spec import Statistic
from tests.support.made_evidence import constant, plain, sound, with_epochs, with_loss, with_series


def said(evidence: Evidence) -> set[str]:
    return {finding.rule for finding in diagnose(evidence, "sagemaker").findings}


def one(statistic: Statistic, values: npt.ArrayLike, activation: str = "relu") -> Evidence:
    """A statistic that takes these values one after the other in the second row, 0.01 elsewhere."""
    evidence = sound(plain(depth=3, activation=activation))
    series = constant(evidence, statistic, 0.01)
    series[1] = np.asarray(values)
    return with_series(evidence, {statistic: series})


@pytest.mark.parametrize(
    ("rule", "evidence", "quiet"),
    [
        (
            "VanishingGradient",
            one(Statistic.MEAN_ABS_GRADIENT, 0.9e-7),
            one(Statistic.MEAN_ABS_GRADIENT, 1.1e-7),
        ),
        ("DeadRelu", one(Statistic.INACTIVE_UNITS, 0.51), one(Statistic.INACTIVE_UNITS, 0.5)),
        (
            "SaturatedActivation",
            one(Statistic.FRACTION_BEYOND_SAGEMAKER, 0.51, "tanh"),
            one(Statistic.FRACTION_BEYOND_SAGEMAKER, 0.5, "tanh"),
        ),
        ("WeightUpdateRatio", one(Statistic.UPDATE_RATIO, 11.0), one(Statistic.UPDATE_RATIO, 9.0)),
        ("WeightUpdateRatio", one(Statistic.UPDATE_RATIO, 0.9e-8), one(Statistic.UPDATE_RATIO, 1.1e-8)),
    ],
)
def test_a_rule_fires_beyond_its_documented_threshold_only(rule: str, evidence: Evidence, quiet: Evidence) -> None:
    assert rule in said(evidence)
    assert rule not in said(quiet)


def test_the_layer_and_the_steps_are_named() -> None:
    means = np.full(180, 1e-3)
    means[[20, 30]] = 1e-9

    finding = next(
        f for f in diagnose(one(Statistic.MEAN_ABS_GRADIENT, means), "sagemaker").findings if f.symptom == "vanishing"
    )

    assert finding.layers == ("dense_0",)  # its bias is the second row
    assert finding.steps == (20, 30)


def test_a_tanh_that_is_never_above_0_is_no_dead_relu() -> None:
    assert "DeadRelu" not in said(one(Statistic.INACTIVE_UNITS, 1.0, "tanh"))


def test_gradients_that_are_not_finite_explode() -> None:
    evidence = sound(plain(depth=3))
    evidence.series[Statistic.GRADIENT_NORM][2, 50] = np.inf

    assert "ExplodingTensor" in said(evidence)


@pytest.mark.parametrize(("ratio", "step", "fires"), [(10.5, 0, True), (9.5, 0, False), (10.5, 10, False)])
def test_variances_of_weights_are_compared_in_the_first_ten_steps(ratio: float, step: int, fires: bool) -> None:
    evidence = sound(plain(depth=3))
    variance = constant(evidence, Statistic.WEIGHT_VARIANCE, 0.02)
    kernels = [i for i, v in enumerate(evidence.plan.rows_of(Statistic.WEIGHT_VARIANCE)) if v.role == "kernel"]
    variance[kernels[1], step] *= ratio

    assert ("PoorWeightInitialization" in said(with_series(evidence, {Statistic.WEIGHT_VARIANCE: variance}))) == fires


def test_a_window_of_ten_losses_must_be_a_tenth_of_a_percent_below_the_one_before() -> None:
    evidence = sound(plain(depth=3))
    falling = np.repeat(2 * 0.99 ** np.arange(18), 10)
    standing = falling.copy()
    standing[90:100] = standing[80:90]

    assert "LossNotDecreasing" not in said(with_loss(evidence, falling))
    assert "LossNotDecreasing" in said(with_loss(evidence, standing))


@pytest.mark.parametrize(("gap", "fires"), [(1.11, True), (1.09, False)])
def test_a_validation_loss_a_tenth_above_the_training_loss_is_overfitting(gap: float, fires: bool) -> None:
    evidence = sound(plain(depth=3))
    loss = np.array([2.0, 1.5, 1.2, 1.0])

    assert ("Overfit" in said(with_epochs(evidence, loss=loss, val_loss=loss * gap))) == fires
