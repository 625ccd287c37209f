"""Poor initialization: first loss, first profile and first growth."""

from dataclasses import dataclass

import numpy as np
import pytest

from service.analysis.diagnosis import Evidence, Finding, Symptom, diagnose
from service.contract.recording_spec import Statistic
from tests.support.made_evidence import plain, scaled_norms, sound, with_loss, with_series


@dataclass(frozen=True)
class Layer:
    name: str
    log10_norm: float
    spread: float


@dataclass(frozen=True)
class Prediction:
    slope: float | None
    layers: tuple[Layer, ...]


def found(evidence: Evidence) -> Finding | None:
    return next((f for f in diagnose(evidence).findings if f.symptom is Symptom.POOR_INITIALIZATION), None)


def with_prediction(evidence: Evidence, off: float) -> Evidence:
    """The run with a prediction that is `off` decades above the norms of step 0."""
    rows = evidence.plan.rows_of(Statistic.GRADIENT_NORM)
    first = np.log10(evidence.series[Statistic.GRADIENT_NORM][:, 0])
    layers = tuple(Layer(v.name, float(log) + off, 0.1) for v, log in zip(rows, first, strict=True))
    return Evidence(
        evidence.plan,
        evidence.steps,
        evidence.series,
        evidence.step_loss,
        evidence.epochs,
        None,
        Prediction(0.6, layers),
    )


def vanishing() -> Evidence:
    return scaled_norms(sound(plain()), {f"dense_{i}": -0.6 * (6 - i) - 1 for i in range(6)})


def test_a_first_loss_far_above_that_of_a_guess_is_found_if_it_falls_slowly() -> None:
    evidence = sound(plain())
    loss = np.geomspace(300, 1, len(evidence.steps))

    finding = found(with_loss(evidence, loss))

    assert finding is not None
    assert finding.observed == pytest.approx(300)
    assert "ln 10 = 2.303" in finding.explanation


def test_a_high_first_loss_that_falls_within_a_few_steps_is_no_finding() -> None:
    evidence = sound(plain())
    loss = np.r_[[300.0, 50.0, 3.0], np.linspace(2, 0.5, len(evidence.steps) - 3)]

    assert found(with_loss(evidence, loss)) is None


def test_the_first_loss_is_not_evaluated_before_a_tenth_of_the_run() -> None:
    evidence = sound(plain(epochs=40), steps=60)  # of 1,800

    assert found(with_loss(evidence, np.full(60, 300.0))) is None


def test_a_profile_that_is_poor_from_the_start_is_poor_initialization() -> None:
    finding = found(vanishing())

    assert finding is not None
    assert finding.steps == (0, 0)
    assert "dense_0" in finding.layers


def test_a_prediction_that_explains_the_profile_is_quoted() -> None:
    finding = found(with_prediction(vanishing(), off=0.05))

    assert finding is not None
    assert "The initialization explains it: theory predicts a norm of 10^-3.7 ± 0.1" in finding.explanation


def test_a_prediction_that_does_not_explain_the_profile_is_quoted() -> None:
    finding = found(with_prediction(vanishing(), off=3.0))

    assert finding is not None
    assert "The initialization alone does not explain it: theory predicts a norm of 10^-0.7" in finding.explanation


def test_a_profile_that_training_repairs_is_no_finding() -> None:
    evidence = sound(plain())
    evidence.series[Statistic.GRADIENT_NORM][:12, :9] *= 1e-6  # 5 % of the steps

    assert diagnose(evidence).verdict == "healthy"


def exploding_at_first(evidence: Evidence, steps: int = 9) -> Evidence:
    """The run with a gradient that gains 0.4 decades with every layer towards the input during the first steps."""
    growing = scaled_norms(evidence, {f"dense_{i}": 0.4 * (10 - i) for i in range(10)})
    norms = evidence.series[Statistic.GRADIENT_NORM].copy()
    norms[:, :steps] = growing.series[Statistic.GRADIENT_NORM][:, :steps]
    return with_series(evidence, {Statistic.GRADIENT_NORM: norms})


def stuck(evidence: Evidence) -> Evidence:
    """The run with a loss that stays at 0.7 of the loss of a guess."""
    return with_loss(evidence, np.full(len(evidence.steps), 0.7 * np.log(10)))


def test_an_explosion_during_the_first_steps_is_found_if_the_network_does_not_recover() -> None:
    evidence = exploding_at_first(stuck(sound(plain(depth=10))))
    rows = [v.name for v in evidence.plan.rows_of(Statistic.GRADIENT_NORM)]
    first = evidence.series[Statistic.GRADIENT_NORM][rows.index("dense_0/kernel"), 0]

    (finding,) = (f for f in diagnose(evidence).findings if f.symptom is Symptom.EXPLODING)

    assert finding.steps == (0, int(evidence.steps[8]))
    assert "dense_0" in finding.layers
    assert "output" not in finding.layers
    assert finding.observed == pytest.approx(0.4 * 9, abs=0.1)  # from the first bias to the last hidden one
    assert f"{first:.2e}" in finding.explanation
    assert "of the last quarter of the steps is 1.612" in finding.explanation  # 0.7 ln 10
    assert finding.remedies


def test_an_explosion_that_training_repairs_is_no_finding() -> None:
    assert diagnose(exploding_at_first(sound(plain(depth=10), falling=0.2))).verdict == "healthy"


def test_an_explosion_during_the_first_steps_is_not_evaluated_before_a_tenth_of_the_run() -> None:
    evidence = exploding_at_first(stuck(sound(plain(depth=10, epochs=40), steps=60)))  # of 1,800

    assert diagnose(evidence).verdict == "healthy"


def test_a_lasting_explosion_is_reported_once() -> None:
    evidence = stuck(sound(plain(depth=10)))

    findings = diagnose(exploding_at_first(evidence, steps=len(evidence.steps))).findings

    assert [f.rule for f in findings if f.symptom is Symptom.EXPLODING] == ["gradient_grows_towards_input"]


def test_a_prediction_that_explains_an_explosion_is_quoted() -> None:
    evidence = with_prediction(exploding_at_first(stuck(sound(plain(depth=10)))), off=0.05)

    (finding,) = (f for f in diagnose(evidence).findings if f.symptom is Symptom.EXPLODING)

    assert "The initialization explains it: theory predicts a norm of" in finding.explanation
