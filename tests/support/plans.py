"""Specs and plans from a few words."""

from typing import Any

from service.contract.data_shape import shape_of
from service.contract.plan import Plan, plan
from service.contract.spec import ExperimentSpec


def plan_of(spec: ExperimentSpec | None = None, precision: str | None = None, **parts: Any) -> Plan:
    """The plan of a spec, or of one made of these parts; in another precision than its own if one is said."""
    if spec is None:
        spec = ExperimentSpec.model_validate(parts).resolved()
    if precision is not None:
        training = spec.training.model_copy(update={"precision": precision})
        spec = spec.model_copy(update={"training": training})
    return plan(spec, shape_of(spec.data))
