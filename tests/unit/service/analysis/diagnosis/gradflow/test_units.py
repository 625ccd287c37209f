"""Dead and saturated units."""

import numpy as np

from service.analysis.diagnosis import Evidence, Finding, NotEvaluated, Symptom, diagnose
from service.contract.recording_spec import Statistic
from tests.support.made_evidence import constant, plain, sound, with_series


def found(evidence: Evidence, symptom: Symptom) -> Finding | None:
    return next((f for f in diagnose(evidence).findings if f.symptom is symptom), None)


def unjudged(evidence: Evidence, symptom: Symptom) -> NotEvaluated | None:
    return next((r for r in diagnose(evidence).not_evaluated if r.symptom is symptom), None)


def test_a_layer_most_of_whose_units_are_never_active_is_named() -> None:
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


def test_units_that_come_back_are_not() -> None:
    evidence = sound(plain(depth=4))
    inactive = constant(evidence, Statistic.INACTIVE_UNITS, 0.0)
    inactive[1, :120] = 0.9

    assert diagnose(with_series(evidence, {Statistic.INACTIVE_UNITS: inactive})).verdict == "healthy"


def test_what_one_batch_says_is_used_where_nothing_better_was_recorded() -> None:
    evidence = sound(plain(depth=4))

    judged = with_series(evidence, {Statistic.DEAD_FRACTION: constant(evidence, Statistic.DEAD_FRACTION, 0.8)})

    finding = found(judged, Symptom.DEAD_UNITS)
    assert finding is not None
    assert "dead_fraction" in finding.explanation


def test_a_whole_layer_that_is_off_shows_in_gradients_alone() -> None:
    evidence = sound(plain(depth=4))
    norms = evidence.series[Statistic.GRADIENT_NORM].copy()
    norms[:-3] = 0.0  # up to the kernel of dense_3, whose inputs are 0 where dense_2 is off; its bias still learns

    judged = with_series(evidence, {Statistic.GRADIENT_NORM: norms})

    finding = found(judged, Symptom.DEAD_UNITS)
    assert finding is not None
    assert finding.layers == ("dense_2",)
    assert found(judged, Symptom.VANISHING) is None


def test_single_dead_units_do_not_show_in_gradients_alone() -> None:
    rule = unjudged(sound(plain(depth=4)), Symptom.DEAD_UNITS)

    assert rule is not None
    assert rule.needs == (Statistic.DEAD_FRACTION,)


def test_of_units_that_cannot_be_off_nothing_is_asked() -> None:
    assert unjudged(sound(plain(depth=4, activation="tanh")), Symptom.DEAD_UNITS) is None


def test_a_layer_most_of_whose_outputs_are_flat_is_named() -> None:
    evidence = sound(plain(depth=4, activation="tanh"))
    saturated = constant(evidence, Statistic.SATURATED_FRACTION, 0.2)
    saturated[0] = 0.9

    finding = found(with_series(evidence, {Statistic.SATURATED_FRACTION: saturated}), Symptom.SATURATION)

    assert finding is not None
    assert finding.layers == ("dense_0",)
    assert "90.0%" in finding.explanation


def test_an_activation_that_is_bounded_nowhere_does_not_saturate() -> None:
    evidence = sound(plain(depth=4))

    judged = with_series(
        evidence, {Statistic.SATURATED_FRACTION: constant(evidence, Statistic.SATURATED_FRACTION, np.nan)}
    )

    assert found(judged, Symptom.SATURATION) is None
    assert unjudged(judged, Symptom.SATURATION) is None
