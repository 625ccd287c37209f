"""Dead units and saturated outputs."""

import numpy as np

from service.analysis.diagnosis import Evidence, Finding, NotEvaluated, Symptom, diagnose
from service.contract.recording_spec import Statistic
from tests.support.made_evidence import constant, plain, sound, with_series


def found(evidence: Evidence, symptom: Symptom) -> Finding | None:
    return next((f for f in diagnose(evidence).findings if f.symptom is symptom), None)


def not_evaluated(evidence: Evidence, symptom: Symptom) -> NotEvaluated | None:
    return next((r for r in diagnose(evidence).not_evaluated if r.symptom is symptom), None)


def test_a_layer_whose_units_are_mostly_inactive_is_named() -> None:
    evidence = sound(plain(depth=4))
    inactive = constant(evidence, Statistic.INACTIVE_UNITS, 0.1)
    inactive[2] = 0.75

    finding = found(with_series(evidence, {Statistic.INACTIVE_UNITS: inactive}), Symptom.DEAD_UNITS)

    assert finding is not None
    assert finding.layers == ("dense_2",)
    assert finding.observed == 0.75
    assert "75.0%" in finding.explanation
    assert {"model.activation": "leaky_relu"} in [dict(remedy.change) for remedy in finding.remedies]


def test_units_that_die_late_are_dead() -> None:
    evidence = sound(plain(depth=4))
    inactive = constant(evidence, Statistic.INACTIVE_UNITS, 0.0)
    inactive[1, 120:] = 0.9  # of 180 steps

    finding = found(with_series(evidence, {Statistic.INACTIVE_UNITS: inactive}), Symptom.DEAD_UNITS)

    assert finding is not None
    assert finding.steps == (120, 179)


def test_units_that_become_active_again_are_not_dead() -> None:
    evidence = sound(plain(depth=4))
    inactive = constant(evidence, Statistic.INACTIVE_UNITS, 0.0)
    inactive[1, :120] = 0.9

    assert diagnose(with_series(evidence, {Statistic.INACTIVE_UNITS: inactive})).verdict == "healthy"


def test_dead_fraction_is_used_if_inactive_units_were_not_recorded() -> None:
    evidence = sound(plain(depth=4))

    run = with_series(evidence, {Statistic.DEAD_FRACTION: constant(evidence, Statistic.DEAD_FRACTION, 0.8)})

    finding = found(run, Symptom.DEAD_UNITS)
    assert finding is not None
    assert "dead_fraction" in finding.explanation


def test_a_dead_layer_shows_in_gradient_norms_alone() -> None:
    evidence = sound(plain(depth=4))
    norms = evidence.series[Statistic.GRADIENT_NORM].copy()
    norms[:-3] = 0.0  # up to the kernel of dense_3, whose inputs are 0 if dense_2 is dead; its bias still learns

    run = with_series(evidence, {Statistic.GRADIENT_NORM: norms})

    finding = found(run, Symptom.DEAD_UNITS)
    assert finding is not None
    assert finding.layers == ("dense_2",)
    assert found(run, Symptom.VANISHING) is None


def test_single_dead_units_do_not_show_in_gradient_norms_alone() -> None:
    rule = not_evaluated(sound(plain(depth=4)), Symptom.DEAD_UNITS)

    assert rule is not None
    assert rule.needs == (Statistic.DEAD_FRACTION,)


def test_dead_units_need_no_statistic_if_no_unit_can_die() -> None:
    assert not_evaluated(sound(plain(depth=4, activation="tanh")), Symptom.DEAD_UNITS) is None


def test_a_layer_whose_outputs_are_mostly_saturated_is_named() -> None:
    evidence = sound(plain(depth=4, activation="tanh"))
    saturated = constant(evidence, Statistic.SATURATED_FRACTION, 0.2)
    saturated[0] = 0.9

    finding = found(with_series(evidence, {Statistic.SATURATED_FRACTION: saturated}), Symptom.SATURATION)

    assert finding is not None
    assert finding.layers == ("dense_0",)
    assert "90.0%" in finding.explanation


def test_an_activation_without_bounds_does_not_saturate() -> None:
    evidence = sound(plain(depth=4))

    run = with_series(
        evidence, {Statistic.SATURATED_FRACTION: constant(evidence, Statistic.SATURATED_FRACTION, np.nan)}
    )

    assert found(run, Symptom.SATURATION) is None
    assert not_evaluated(run, Symptom.SATURATION) is None
