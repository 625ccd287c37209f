"""Plans that are remembered are those that would be made anew."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from service.analysis.theory import preflight
from service.application.plans import Accepted, accepted, plan_of_record
from service.contract.architecture import architecture_of
from service.contract.data_shape import shape_of
from service.contract.errors import InvalidSpec, LimitExceeded
from service.contract.norm_layout import NormLayout
from service.contract.plan import Plan, plan
from service.contract.record import ExperimentRecord, Progress, Status
from service.contract.spec import ExperimentSpec
from service.contract.workload import Limits
from tests.support.specs import mlps, presets, specs


def _resolved(body: dict[str, Any]) -> ExperimentSpec:
    return ExperimentSpec.model_validate_json(json.dumps(body)).resolved()


def _submitted(body: dict[str, Any], limits: Limits | None = None) -> Plan:
    spec = _resolved(body)
    return accepted(spec, shape_of(spec.data), limits or Limits()).plan


@given(specs(st.one_of(mlps, presets)))
def test_what_is_remembered_of_any_spec_is_what_would_be_said_anew(body: dict[str, Any]) -> None:
    try:
        spec = _resolved(body)
        shape = shape_of(spec.data)
    except (ValidationError, InvalidSpec):
        return
    try:
        planned = plan(spec, shape, Limits())
        anew: Accepted | str = Accepted(
            planned, planned.warnings + preflight(planned), architecture_of(planned), NormLayout.of(planned)
        )
    except InvalidSpec as error:
        anew = str(error)

    for _ in range(2):
        try:
            found: Accepted | str = accepted(spec, shape, Limits())
        except InvalidSpec as error:
            found = str(error)
        assert found == anew


def test_runs_that_differ_in_names_and_seeds_share_all_but_the_spec() -> None:
    first = _submitted({"model": "baseline", "name": "a", "tags": ["x"], "training": {"seed": 1}})
    second = _submitted({"model": "baseline", "name": "b", "data": {"source": "random", "seed": 3}})

    assert second.network is first.network
    assert (first.spec.name, first.spec.tags, first.spec.training.seed, first.spec.data.seed) == ("a", ("x",), 1, 1)
    assert (second.spec.name, second.spec.tags, second.spec.training.seed, second.spec.data.seed) == ("b", (), 0, 3)


def test_what_one_limit_allows_another_still_refuses() -> None:
    body = {"model": {"kind": "baseline", "depth": 50}}

    assert _submitted(body).network
    with pytest.raises(LimitExceeded):
        _submitted(body, Limits(layers=49))
    assert _submitted(body).network


def test_a_recorded_run_is_planned_once_and_without_limits() -> None:
    spec = _resolved({"model": {"kind": "baseline", "depth": 2_000}, "name": "deep"})
    record = ExperimentRecord(
        id="a",
        status=Status.RUNNING,
        spec=spec,
        shape=shape_of(spec.data),
        progress=Progress(total_steps=1, epochs=1),
        created_at=datetime(2026, 1, 1, tzinfo=UTC),
    )

    planned = plan_of_record(record)

    assert planned == plan(spec, record.shape)
    assert plan_of_record(record) is planned
