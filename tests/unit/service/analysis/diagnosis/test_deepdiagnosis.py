"""The rules of DeepDiagnosis on histories made for each."""

import numpy as np
import pytest

from service.analysis.diagnosis import Evidence, diagnose
from service.contract.recording_spec import Statistic
from tests.support.made_evidence import constant, plain, sound, with_epochs, with_loss, with_series


def fired(evidence: Evidence) -> set[str]:
    return {finding.rule for finding in diagnose(evidence, "deepdiagnosis").findings}


def recorded(statistic: Statistic, value: float, activation: str = "relu", epochs: int = 6) -> Evidence:
    evidence = sound(plain(depth=3, activation=activation, epochs=epochs))
    return with_series(evidence, {statistic: constant(evidence, statistic, value)})


@pytest.mark.parametrize(
    ("rule", "evidence", "quiet"),
    [
        (
            "VanishingGradient",
            recorded(Statistic.MEAN_ABS_GRADIENT, 0.9e-7),
            recorded(Statistic.MEAN_ABS_GRADIENT, 1.1e-7),
        ),
        ("DeadNode", recorded(Statistic.FRACTION_NOT_POSITIVE, 0.7), recorded(Statistic.FRACTION_NOT_POSITIVE, 0.69)),
        (
            "SaturatedActivation",
            recorded(Statistic.FRACTION_BEYOND_DEEPDIAGNOSIS, 0.51, "sigmoid"),
            recorded(Statistic.FRACTION_BEYOND_DEEPDIAGNOSIS, 0.5, "sigmoid"),
        ),
        ("ImproperWeights", recorded(Statistic.WEIGHT_VARIANCE, 0.9e-5), recorded(Statistic.WEIGHT_VARIANCE, 1.1e-5)),
        ("ImproperWeights", recorded(Statistic.WEIGHT_VARIANCE, 11.0), recorded(Statistic.WEIGHT_VARIANCE, 9.0)),
        ("ImproperLearningRate", recorded(Statistic.UPDATE_RATIO, 0.11), recorded(Statistic.UPDATE_RATIO, 0.09)),
        ("ImproperLearningRate", recorded(Statistic.UPDATE_RATIO, 0.9e-5), recorded(Statistic.UPDATE_RATIO, 1.1e-5)),
    ],
)
def test_a_rule_fires_beyond_its_published_threshold_only(rule: str, evidence: Evidence, quiet: Evidence) -> None:
    assert rule in fired(evidence)
    assert rule not in fired(quiet)


def test_steps_within_an_epoch_are_not_evaluated() -> None:
    evidence = recorded(Statistic.MEAN_ABS_GRADIENT, 1e-3)
    evidence.series[Statistic.MEAN_ABS_GRADIENT][:, 10:40] = 1e-12  # within the first epoch of 45 steps

    assert "VanishingGradient" not in fired(evidence)


def test_a_gradient_of_0_is_a_numerical_error() -> None:
    evidence = sound(plain(depth=3, epochs=6))
    evidence.series[Statistic.GRADIENT_NORM][2, 90] = 0.0

    assert "NumericalError" in fired(evidence)


def test_dead_nodes_are_evaluated_after_the_last_epoch_only() -> None:
    evidence = recorded(Statistic.FRACTION_NOT_POSITIVE, 0.2)
    evidence.series[Statistic.FRACTION_NOT_POSITIVE][0, :200] = 0.9

    assert "DeadNode" not in fired(evidence)


def test_a_loss_that_is_equal_in_five_epochs_does_not_decrease() -> None:
    evidence = sound(plain(depth=3, epochs=6))

    assert "LossNotDecreasing" in fired(with_epochs(evidence, loss=[2.0] * 6))
    assert "LossNotDecreasing" not in fired(with_epochs(evidence, loss=[2.0, 2.0, 2.0, 2.0, 1.9, 1.9]))


def test_a_nonfinite_loss_is_invalid() -> None:
    evidence = sound(plain(depth=3, epochs=6))
    loss = evidence.step_loss.copy()
    loss[100:] = np.inf

    assert "InvalidLoss" in fired(with_loss(evidence, loss))
