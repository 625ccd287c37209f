"""Plans, remembered: a run is read again and again, and many runs differ in nothing but seeds and names."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache

from pydantic.main import IncEx

from service.application.predictions import preflight_of
from service.contract.architecture import architecture_of
from service.contract.data_spec import DataShape
from service.contract.norm_layout import NormLayout
from service.contract.plan import Plan, plan
from service.contract.record import ExperimentRecord
from service.contract.spec import ExperimentSpec
from service.contract.workload import Limits

REMEMBERED = 16  # a network of a thousand own layers takes some megabytes
# No part of a plan follows from these.
LEFT_OUT: Mapping[str, IncEx | bool] = {"name": True, "tags": True, "data": {"seed"}, "training": {"seed"}}


@dataclass(frozen=True)
class Accepted:
    """A run that may be queued, and what is stored of its plan beside the spec."""

    plan: Plan
    warnings: tuple[str, ...]  # the plan's, and theory's
    architecture: str
    norms: NormLayout


@dataclass(frozen=True)
class _ByText:
    """A spec that is looked up by its text, for a network of one's own holds a dictionary."""

    text: str
    spec: ExperimentSpec = field(compare=False)


def plan_of_record(record: ExperimentRecord) -> Plan:
    """What `plan` says of a recorded run."""
    return _plan(_ByText(record.spec.model_dump_json(), record.spec), record.shape)


def accepted(spec: ExperimentSpec, shape: DataShape, limits: Limits) -> Accepted:
    """What `plan` says of a resolved spec, within the limits; raises what `plan` raises."""
    known = _accepted(_ByText(spec.model_dump_json(exclude=LEFT_OUT), spec), shape, limits)
    return replace(known, plan=replace(known.plan, spec=spec))


@lru_cache(REMEMBERED)
def _plan(known: _ByText, shape: DataShape) -> Plan:
    return plan(known.spec, shape)


@lru_cache(REMEMBERED)
def _accepted(known: _ByText, shape: DataShape, limits: Limits) -> Accepted:
    planned = plan(known.spec, shape, limits)
    warnings = planned.warnings + preflight_of(planned)
    return Accepted(planned, warnings, architecture_of(planned), NormLayout.of(planned))
