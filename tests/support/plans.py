"""Plans and new experiments for tests, from the parts of a spec."""

from collections.abc import Sequence
from typing import Any

from service.contract.data_shape import shape_of
from service.contract.data_spec import DataShape
from service.contract.gradient_norm_layout import GradientNormLayout
from service.contract.plan import Plan, plan
from service.contract.resolved_spec import ResolvedSpec
from service.contract.spec import ExperimentSpec
from service.contract.workload import workload
from service.store.experiments import NewExperiment

ONE_KERNEL = GradientNormLayout("<f4", 4, 1, "k-")


def new_experiment(
    spec: ExperimentSpec | ResolvedSpec,
    warnings: Sequence[str] = (),
    shape: DataShape | None = None,
    architecture: str = "",
    steps: int | None = None,
    norms: GradientNormLayout = ONE_KERNEL,
    history_bytes: int = 0,
) -> NewExperiment:
    """Return a new experiment for the store; what is not given follows from the spec, or is as small as possible."""
    resolved = spec if isinstance(spec, ResolvedSpec) else ResolvedSpec.of(spec)
    shape = shape or shape_of(resolved.spec.data)
    steps = workload(resolved.spec, shape.samples).total_steps if steps is None else steps
    return NewExperiment(resolved, shape, tuple(warnings), architecture, steps, norms, history_bytes)


def plan_of(spec: ExperimentSpec | None = None, precision: str | None = None, **parts: Any) -> Plan:
    """Return the plan of a spec, or of a spec with these parts; `precision` replaces that of the spec."""
    if spec is None:
        spec = ExperimentSpec.model_validate(parts).resolved()
    if precision is not None:
        training = spec.training.model_copy(update={"precision": precision})
        spec = spec.model_copy(update={"training": training})
    return plan(spec, shape_of(spec.data))
