"""Updates that are too small or too large, and clipping."""

import numpy as np
import pytest

from service.analysis.diagnosis import Evidence, Finding, Symptom, diagnose
from service.contract.recording_spec import Statistic
from tests.support.made_evidence import constant, plain, scaled_norms, sound, with_series


def found(evidence: Evidence, symptom: Symptom) -> Finding | None:
    return next((f for f in diagnose(evidence).findings if f.symptom is symptom), None)


def of_ratio(ratio: float, falling: float = 0.9) -> Evidence:
    """A run of 180 steps whose loss falls to `falling` times the first one."""
    evidence = sound(plain(), falling=falling)
    return with_series(evidence, {Statistic.UPDATE_RATIO: constant(evidence, Statistic.UPDATE_RATIO, ratio)})


def test_weights_that_hardly_move_at_a_high_loss_converge_slowly() -> None:
    evidence = of_ratio(1e-5)

    finding = found(evidence, Symptom.SLOW_CONVERGENCE)

    assert finding is not None
    assert finding.observed == pytest.approx(180 * 1e-5)
    assert "0.0018" in finding.explanation
    assert found(evidence, Symptom.UPDATE_RATIO_OUT_OF_RANGE) is not None


def test_the_steps_between_two_recorded_ones_count() -> None:
    plan = plain()  # the history was thinned after it was recorded
    every = sound(plan, steps=18)
    evidence = Evidence(plan, every.steps * 10, every.series, np.linspace(2.3, 2.0, 180), every.epochs)

    finding = found(
        with_series(evidence, {Statistic.UPDATE_RATIO: constant(evidence, Statistic.UPDATE_RATIO, 1e-5)}),
        Symptom.SLOW_CONVERGENCE,
    )

    assert finding is not None
    assert finding.observed == pytest.approx(180 * 1e-5)


def test_the_movement_of_a_run_in_progress_is_extrapolated() -> None:
    begun = sound(plain(epochs=40), steps=60, falling=0.9)  # of 1,800

    def moving(ratio: float) -> Evidence:
        return with_series(begun, {Statistic.UPDATE_RATIO: constant(begun, Statistic.UPDATE_RATIO, ratio)})

    assert found(moving(1e-4), Symptom.SLOW_CONVERGENCE) is None  # 0.006 so far, 0.18 at the end
    assert found(moving(1e-5), Symptom.SLOW_CONVERGENCE) is not None


@pytest.mark.parametrize("evidence", [of_ratio(1e-2), of_ratio(1e-5, falling=0.1)], ids=["moving", "learned"])
def test_weights_that_move_or_have_learned_are_healthy(evidence: Evidence) -> None:
    assert diagnose(evidence).verdict == "healthy"


def test_weights_without_a_gradient_are_not_reported_as_slow() -> None:
    evidence = scaled_norms(of_ratio(1e-9), {f"dense_{i}": -1.5 * (6 - i) for i in range(6)})

    assert found(evidence, Symptom.VANISHING) is not None
    assert found(evidence, Symptom.SLOW_CONVERGENCE) is None


def test_updates_that_are_large_for_the_weights_are_out_of_range() -> None:
    evidence = sound(plain())
    ratios = constant(evidence, Statistic.UPDATE_RATIO, 1e-3)
    rows = [v.name for v in evidence.plan.rows_of(Statistic.UPDATE_RATIO)]
    ratios[rows.index("dense_1/kernel")] = 0.4
    ratios[rows.index("dense_2/bias")] = 7.0  # biases start at 0 and do not count

    finding = found(with_series(evidence, {Statistic.UPDATE_RATIO: ratios}), Symptom.UPDATE_RATIO_OUT_OF_RANGE)

    assert finding is not None
    assert finding.layers == ("dense_1",)
    assert "40.0%" in finding.explanation


def test_a_steady_but_small_fall_of_the_loss_is_slow_if_update_ratio_was_not_recorded() -> None:
    evidence = sound(plain(), falling=0.9)

    finding = found(evidence, Symptom.SLOW_CONVERGENCE)

    assert finding is not None
    assert finding.observed < 0.1


def clipped(ratio: float, part: float) -> Evidence:
    evidence = sound(plain(training={"gradient_clipping": {"by": "global_norm", "threshold": 0.5}}))
    cut = np.where(np.arange(180) < part * 180, ratio, 1.0)
    return with_series(evidence, {Statistic.CLIPPED_NORM: evidence.series[Statistic.GRADIENT_NORM] / cut})


def test_clipping_at_every_step_is_found() -> None:
    finding = found(clipped(50.0, 1.0), Symptom.CLIPPING_ALWAYS_ON)

    assert finding is not None
    assert "1/50" in finding.explanation
    (remedy,) = finding.remedies
    assert remedy.change["training.gradient_clipping.threshold"] == pytest.approx(0.5 * 50 * 3)


@pytest.mark.parametrize(("ratio", "part"), [(50.0, 0.5), (1.2, 1.0)], ids=["occasional", "slight"])
def test_occasional_or_slight_clipping_is_healthy(ratio: float, part: float) -> None:
    assert diagnose(clipped(ratio, part)).verdict == "healthy"
