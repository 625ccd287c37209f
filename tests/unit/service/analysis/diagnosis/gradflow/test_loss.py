"""Symptoms that show in the loss."""

import math

import numpy as np
import pytest

from service.analysis.diagnosis import Evidence, Finding, Symptom, diagnose
from tests.support.made_evidence import plain, sound, with_epochs, with_loss


def found(evidence: Evidence, symptom: Symptom) -> Finding | None:
    return next((f for f in diagnose(evidence).findings if f.symptom is symptom), None)


def symptoms(evidence: Evidence) -> set[str]:
    return {finding.symptom.value for finding in diagnose(evidence).findings}


def long_run(epochs: int = 20) -> Evidence:
    return sound(plain(epochs=epochs))


def test_a_run_with_a_nonfinite_loss_has_diverged() -> None:
    evidence = sound(plain(), steps=40)
    loss = evidence.step_loss.copy()
    loss[-1] = np.nan

    finding = found(with_loss(evidence, loss, diverged_at_step=39), Symptom.DIVERGED)

    assert finding is not None
    assert finding.severity == "critical"
    assert finding.steps == (39, 39)
    assert "step 39" in finding.explanation
    assert diagnose(with_loss(evidence, loss, diverged_at_step=39)).verdict == "diverged"


def test_a_run_with_a_nonfinite_gradient_has_diverged() -> None:
    evidence = sound(plain(), steps=40)

    assert "diverged" in symptoms(with_loss(evidence, evidence.step_loss, diverged_at_step=39))


@pytest.mark.parametrize(("level", "stuck"), [(math.log(10), True), (2.25, True), (2.0, False)])
def test_a_loss_that_stays_at_that_of_a_guess_does_not_decrease(level: float, stuck: bool) -> None:
    evidence = long_run()
    noise = np.random.default_rng(1).normal(0, 0.05, len(evidence.steps))

    finding = found(with_loss(evidence, level + noise), Symptom.LOSS_NOT_DECREASING)

    assert (finding is not None) == stuck
    if finding is not None:
        assert "ln 10 = 2.303" in finding.explanation


def test_a_high_loss_that_falls_is_decreasing() -> None:
    evidence = long_run()

    assert "loss_not_decreasing" not in symptoms(with_loss(evidence, np.linspace(20, 10, len(evidence.steps))))


def test_a_loss_that_stays_is_not_evaluated_for_random_labels() -> None:
    plan = plain(data={"source": "random"}, epochs=10)
    evidence = sound(plan)

    found = diagnose(with_loss(evidence, np.full(len(evidence.steps), math.log(2))))

    assert found.verdict == "healthy"
    assert any("random" in rule.reason for rule in found.not_evaluated)


def test_the_loss_of_a_short_run_is_not_evaluated() -> None:
    found = diagnose(sound(plain(), steps=10))

    assert found.verdict == "healthy"
    assert "fewer than 30 steps were made" in [rule.reason for rule in found.not_evaluated]


def test_a_loss_that_rises_repeatedly_oscillates() -> None:
    evidence = long_run()
    loss = np.where(np.arange(20) % 2, 1.5, 0.7)

    finding = found(with_epochs(evidence, loss=loss, val_loss=loss), Symptom.OSCILLATING_LOSS)

    assert finding is not None
    assert finding.observed == pytest.approx(10 * 0.8 / math.log(10) / 19)
    assert "10 of 19" in finding.explanation


def test_the_noise_of_a_loss_that_has_fallen_is_no_oscillation() -> None:
    evidence = long_run()
    loss = np.r_[np.linspace(2.3, 0.02, 10), np.where(np.arange(10) % 2, 0.02, 0.05)]

    assert "oscillating_loss" not in symptoms(with_epochs(evidence, loss=loss, val_loss=loss))


def test_a_validation_loss_that_rises_while_the_training_loss_falls_is_overfitting() -> None:
    evidence = long_run()
    training = np.geomspace(2.3, 0.01, 20)
    validation = np.r_[np.linspace(2.3, 1.0, 6), np.linspace(1.0, 2.0, 14)]

    finding = found(with_epochs(evidence, loss=training, val_loss=validation), Symptom.OVERFITTING)

    assert finding is not None
    assert "after epoch 6" in finding.explanation
    assert finding.steps[0] == 6 * 45


def test_a_single_poor_epoch_at_the_end_is_no_overfitting() -> None:
    evidence = long_run()
    training, validation = np.geomspace(2.3, 0.01, 20), np.geomspace(2.3, 0.3, 20)
    validation[-1] = 2.0

    assert "overfitting" not in symptoms(with_epochs(evidence, loss=training, val_loss=validation))


def test_a_validation_loss_that_rises_with_the_training_loss_is_no_overfitting() -> None:
    evidence = long_run()
    both = np.r_[np.linspace(2.3, 1.0, 6), np.linspace(1.0, 2.0, 14)]

    assert "overfitting" not in symptoms(with_epochs(evidence, loss=both, val_loss=both))


def test_overfitting_is_not_evaluated_without_validation_samples() -> None:
    evidence = long_run()

    found = diagnose(with_epochs(evidence, val_loss=np.full(20, np.nan)))

    assert Symptom.OVERFITTING in [rule.symptom for rule in found.not_evaluated]
