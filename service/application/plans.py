"""Plans, cached: clients read a run many times, and many runs differ only in their names and seeds."""

from dataclasses import dataclass, replace
from functools import lru_cache

from service.application.predictions import Predictions
from service.contract.architecture import architecture_of
from service.contract.data_spec import DataShape
from service.contract.gradient_norm_layout import GradientNormLayout
from service.contract.plan import Plan, plan
from service.contract.record import ExperimentRecord
from service.contract.resolved_spec import ResolvedSpec
from service.contract.spec import ExperimentSpec
from service.contract.workload import Limits

MAX_PLANS = 16  # a network of a thousand layers that are all different takes some megabytes


@dataclass(frozen=True)
class AcceptedRun:
    """A run that may be queued, and what the store keeps of its plan."""

    plan: Plan
    warnings: tuple[str, ...]  # of the plan and of the theory
    architecture: str
    norms: GradientNormLayout


@dataclass(frozen=True)
class _PlanInput:
    """What the plan of a run depends on."""

    spec: ExperimentSpec
    shape: DataShape
    limits: Limits | None


class Plans:
    """Makes plans and keeps the last MAX_PLANS of each kind. Methods may be called by several threads."""

    def __init__(self, predictions: Predictions) -> None:
        self._predictions = predictions
        self._plan = lru_cache(MAX_PLANS)(_plan)
        self._accepted = lru_cache(MAX_PLANS)(self._accept)

    def of_record(self, record: ExperimentRecord) -> Plan:
        """Return the plan of a recorded run, without limits."""
        return self._plan(_PlanInput(record.spec, record.shape, None))

    def accepted(self, resolved: ResolvedSpec, shape: DataShape, limits: Limits) -> AcceptedRun:
        """Return the plan of a spec within the limits, with its warnings.

        Raises:
            LimitExceeded: The spec breaks a limit.
            InvalidSpec: The spec contradicts itself or its data.
        """
        found = self._accepted(_PlanInput(resolved.template, shape, limits))
        return replace(found, plan=replace(found.plan, spec=resolved.spec))

    def within(self, resolved: ResolvedSpec, shape: DataShape, limits: Limits) -> Plan:
        """Return the plan of a spec within the limits; raises what `accepted` raises."""
        return replace(self._plan(_PlanInput(resolved.template, shape, limits)), spec=resolved.spec)

    def _accept(self, given: _PlanInput) -> AcceptedRun:
        planned = self._plan(given)
        warnings = planned.warnings + self._predictions.warnings(planned)
        return AcceptedRun(planned, warnings, architecture_of(planned), GradientNormLayout.of(planned))


def _plan(given: _PlanInput) -> Plan:
    return plan(given.spec, given.shape, given.limits)
