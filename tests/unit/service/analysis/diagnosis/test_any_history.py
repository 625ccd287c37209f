"""Properties of every pack on any history, including nonfinite and incomplete ones."""

import math
from typing import Any, get_args

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gradflow.cli import options
from service.analysis.diagnosis import NOT_EVALUATED, PACKS, Diagnosis, Evidence, PackName, diagnose
from service.analysis.diagnosis.values import SEVERITIES
from service.contract.plan import Plan
from service.contract.recording_spec import Statistic
from tests.support.made_evidence import DIGITS, plain, sound
from tests.support.plans import plan_of

PLANS = [
    plain(depth=1),
    plain(depth=2, activation="sigmoid"),
    plain(depth=5, activation="tanh", training={"gradient_clipping": {"by": "norm", "threshold": 1.0}}),
    plan_of(model="improved", data=DIGITS),
    plan_of(model={"kind": "mlp", "depth": 3}, data={"source": "diabetes"}, recording={"every": 7}),
    plan_of(model={"kind": "mlp", "depth": 2}, data={"source": "random"}, training={"validation_split": 0.0}),
]
odd = st.sampled_from([0.0, math.nan, math.inf, -math.inf, 1e-45, 1e-30, 1e-7, 0.01, 0.6, 1.0, 7.0, 1e20, 3e38])


@st.composite
def histories(draw: st.DrawFn) -> Evidence:
    plan: Plan = draw(st.sampled_from(PLANS))
    count = draw(st.integers(0, 12))
    every = plan.spec.recording.every
    kind = draw(st.sampled_from([np.float32, np.float64]))

    def values(rows: int, columns: int) -> Any:
        few = draw(st.lists(odd, min_size=1, max_size=12))
        return np.resize(np.array(few, np.float64), (rows, columns)).astype(kind)

    chosen = draw(st.lists(st.sampled_from([s for s in Statistic if s.stored]), max_size=6))
    series = {s: values(len(plan.rows_of(s)), count) for s in {Statistic.GRADIENT_NORM, *chosen}}
    made = max(0, (count - 1) * every + 1) + (draw(st.integers(0, every - 1)) if count else 0)
    names = plan.objective.epoch_metrics
    epochs = draw(st.integers(0, 8))
    metrics = {name: values(1, epochs)[0] for name in names}
    at = draw(st.one_of(st.none(), st.integers(0, made - 1))) if made else None
    return Evidence(plan, np.arange(count) * every, series, values(1, made)[0], metrics, at)


@settings(deadline=None, max_examples=60)
@given(histories(), st.sampled_from(sorted(PACKS)))
def test_any_history_has_a_consistent_diagnosis(evidence: Evidence, rules: str) -> None:
    found = diagnose(evidence, rules)

    assert found.rules == rules
    assert found.verdict == (found.findings[0].symptom if found.findings else NOT_EVALUATED)
    assert not {finding.rule for finding in found.findings} & {rule.rule for rule in found.not_evaluated}
    layers = {variable.layer for variable in (*evidence.plan.variables, *evidence.plan.activations)}
    recorded = set(evidence.steps.tolist())
    for finding in found.findings:
        assert set(finding.layers) <= layers
        assert len(set(finding.layers)) == len(finding.layers)
        assert set(finding.steps) <= recorded
        assert finding.steps[0] <= finding.steps[1]
        assert 0 <= finding.confidence <= 1
        assert math.isfinite(finding.observed)
        assert math.isfinite(finding.threshold)
        assert finding.explanation.endswith(".")
        assert "nan" not in finding.explanation.split()
    severities = [SEVERITIES.index(finding.severity) for finding in found.findings]
    assert severities == sorted(severities, reverse=True)


def test_the_server_and_the_command_line_name_the_same_packs() -> None:
    assert tuple(PACKS) == get_args(PackName) == get_args(options.PackName)


@pytest.mark.parametrize("rules", sorted(PACKS))
def test_a_run_without_recorded_steps_is_not_evaluated(rules: str) -> None:
    plan = plain()
    empty = Evidence(plan, np.arange(0), {Statistic.GRADIENT_NORM: np.empty((14, 0))}, np.empty(0), {})

    found = diagnose(empty, rules)

    assert found == Diagnosis(NOT_EVALUATED, rules, (), found.not_evaluated)
    assert found.not_evaluated


@pytest.mark.parametrize("rules", sorted(PACKS))
def test_a_rule_whose_statistic_is_missing_names_it(rules: str) -> None:
    found = diagnose(sound(plain(depth=3, activation="tanh")), rules)

    needed = {statistic for rule in found.not_evaluated for statistic in rule.needs}
    assert needed
    assert all(statistic in rule.reason for rule in found.not_evaluated for statistic in rule.needs)


def test_the_finding_of_a_healthy_run_quotes_its_numbers() -> None:
    found = diagnose(sound(plain()))

    (finding,) = found.findings
    assert found.verdict == finding.symptom == "healthy"
    assert "10^" in finding.explanation
    assert "2.245" in finding.explanation  # the mean of the first 18 losses


def test_an_unknown_pack_is_a_key_error() -> None:
    with pytest.raises(KeyError):
        diagnose(sound(plain()), "no such pack")
