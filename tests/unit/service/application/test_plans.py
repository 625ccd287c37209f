"""Cached plans are equal to new ones."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from service.analysis.theory import preflight
from service.application.plans import AcceptedRun, Plans
from service.application.predictions import Predictions
from service.contract.architecture import architecture_of
from service.contract.data_shape import shape_of
from service.contract.errors import InvalidSpec, LimitExceeded
from service.contract.gradient_norm_layout import GradientNormLayout
from service.contract.plan import Plan, plan
from service.contract.record import ExperimentRecord, Progress, Status
from service.contract.resolved_spec import ResolvedSpec
from service.contract.spec import ExperimentSpec
from service.contract.workload import Limits
from tests.support.specs import mlps, presets, specs


def _resolved(body: dict[str, Any]) -> ExperimentSpec:
    return ExperimentSpec.model_validate_json(json.dumps(body)).resolved()


@pytest.fixture
def plans() -> Plans:
    return Plans(Predictions())


def _submitted(plans: Plans, body: dict[str, Any], limits: Limits | None = None) -> Plan:
    spec = _resolved(body)
    return plans.accepted(ResolvedSpec.of(spec), shape_of(spec.data), limits or Limits()).plan


@given(specs(st.one_of(mlps, presets)))
def test_the_cached_plan_of_any_spec_is_equal_to_a_new_one(body: dict[str, Any]) -> None:
    plans = Plans(Predictions())
    try:
        spec = _resolved(body)
        shape = shape_of(spec.data)
    except (ValidationError, InvalidSpec):
        return
    try:
        planned = plan(spec, shape, Limits())
        expected: AcceptedRun | str = AcceptedRun(
            planned, planned.warnings + preflight(planned), architecture_of(planned), GradientNormLayout.of(planned)
        )
    except InvalidSpec as error:
        expected = str(error)

    for _ in range(2):
        try:
            found: AcceptedRun | str = plans.accepted(ResolvedSpec.of(spec), shape, Limits())
        except InvalidSpec as error:
            found = str(error)
        assert found == expected


def test_runs_that_differ_in_names_and_seeds_share_everything_but_the_spec(plans: Plans) -> None:
    first = _submitted(plans, {"model": "baseline", "name": "a", "tags": ["x"], "training": {"seed": 1}})
    second = _submitted(plans, {"model": "baseline", "name": "b", "data": {"source": "random", "seed": 3}})

    assert second.network is first.network
    assert (first.spec.name, first.spec.tags, first.spec.training.seed, first.spec.data.seed) == ("a", ("x",), 1, 1)
    assert (second.spec.name, second.spec.tags, second.spec.training.seed, second.spec.data.seed) == ("b", (), 0, 3)


def test_a_spec_that_one_limit_allows_is_still_refused_by_a_lower_one(plans: Plans) -> None:
    body = {"model": {"kind": "baseline", "depth": 50}}

    assert _submitted(plans, body).network
    with pytest.raises(LimitExceeded):
        _submitted(plans, body, Limits(layers=49))
    assert _submitted(plans, body).network


def test_the_plan_of_a_recorded_run_is_made_once_and_without_limits(plans: Plans) -> None:
    spec = _resolved({"model": {"kind": "baseline", "depth": 2_000}, "name": "deep"})
    record = ExperimentRecord(
        id="a",
        status=Status.RUNNING,
        spec=spec,
        shape=shape_of(spec.data),
        progress=Progress(total_steps=1, epochs=1),
        created_at=datetime(2026, 1, 1, tzinfo=UTC),
    )

    planned = plans.of_record(record)

    assert planned == plan(spec, record.shape)
    assert plans.of_record(record) is planned


def test_a_plan_within_limits_computes_no_warnings() -> None:
    class NoWarnings(Predictions):
        def warnings(self, planned: Plan) -> tuple[str, ...]:
            raise AssertionError(planned)

    resolved = ResolvedSpec.of(ExperimentSpec.model_validate({"model": "baseline", "name": "a"}))

    planned = Plans(NoWarnings()).within(resolved, shape_of(resolved.spec.data), Limits())

    assert planned.spec == resolved.spec
    assert planned == Plans(Predictions()).accepted(resolved, shape_of(resolved.spec.data), Limits()).plan
