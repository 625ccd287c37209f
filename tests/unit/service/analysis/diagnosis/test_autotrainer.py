"""The rules of AUTOTRAINER on histories made for each problem."""

import numpy as np
import pytest

from service.analysis.diagnosis import Evidence, diagnose
from service.contract.recording_spec import Statistic
from tests.support.made_evidence import constant, plain, sound, with_epochs, with_series
from tests.support.plans import plan_of


def fired(evidence: Evidence) -> set[str]:
    return {finding.rule for finding in diagnose(evidence, "autotrainer").findings}


def run(
    first: float = 1.0, last: float = 1.0, accuracy: float = 0.5, gain: float = 0.02, zeros: float = 0.0
) -> Evidence:
    """Ten epochs with these gradient norms of the first and the last kernel, and this final accuracy."""
    evidence = sound(plain(depth=3, epochs=10))
    norms = evidence.series[Statistic.GRADIENT_NORM].copy()
    norms[0], norms[-2] = first, last
    series = {
        Statistic.GRADIENT_NORM: norms,
        Statistic.ZERO_FRACTION: constant(evidence, Statistic.ZERO_FRACTION, zeros),
    }
    accuracies = accuracy - gain * np.arange(10)[::-1]
    return with_epochs(with_series(evidence, series), accuracy=accuracies, val_accuracy=accuracies)


@pytest.mark.parametrize(
    ("evidence", "rules"),
    [
        (run(first=0.9e-4, last=1.0), {"vanishing_gradient"}),
        (run(first=1.1e-4, last=1.0), {"no_objection"}),
        (run(first=0.9e-4, last=0.08), {"no_objection"}),  # the ratio is above 1e-3
        (run(first=71.0, last=1.0), {"exploding_gradient"}),
        (run(first=69.0, last=1.0), {"no_objection"}),
        (run(zeros=0.7), {"dying_relu"}),
        (run(zeros=0.69), {"no_objection"}),
        (run(gain=0.009), {"slow_convergence"}),
    ],
)
def test_a_rule_fires_beyond_its_thresholds_in_a_run_that_does_not_converge(
    evidence: Evidence, rules: set[str]
) -> None:
    assert fired(evidence) == rules


def test_gradients_do_not_count_in_a_run_that_converges() -> None:
    assert fired(run(first=1e-9, accuracy=0.9)) == {"no_objection"}


def test_dying_relu_has_precedence_over_vanishing() -> None:
    assert fired(run(first=1e-9, zeros=0.9)) == {"dying_relu"}


def test_nonfinite_gradients_explode_at_any_accuracy() -> None:
    evidence = run(accuracy=0.95)
    evidence.series[Statistic.GRADIENT_NORM][3, 10] = np.nan

    assert fired(evidence) == {"exploding_gradient"}


def test_an_accuracy_that_swings_in_a_fifth_of_the_epochs_is_oscillation() -> None:
    swinging = np.where(np.arange(10) % 2, 0.75, 0.85)

    assert fired(with_epochs(run(), accuracy=swinging, val_accuracy=swinging)) == {"oscillating_loss"}


def test_no_rule_is_evaluated_without_accuracy() -> None:
    plan = plan_of(model={"kind": "mlp", "depth": 2}, data={"source": "diabetes"})

    found = diagnose(sound(plan), "autotrainer")

    assert found.verdict == "not_evaluated"
    assert {rule.reason for rule in found.not_evaluated if not rule.needs} == {
        "accuracy is not measured: this pack applies to classifiers only"
    }
