"""Evidence for tests of the diagnosis: made-up histories of a plan."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from service.analysis.diagnosis import Evidence
from service.contract.plan import Plan
from service.contract.recording_spec import Statistic
from tests.support.plans import plan_of

Floats = npt.NDArray[np.floating]

DIGITS = {"source": "digits", "scale": "standard"}


def plain(depth: int = 6, activation: str = "relu", epochs: int = 4, **parts: Any) -> Plan:
    """The plan of a perceptron on the digits; `parts` are further parts of the spec."""
    model = parts.pop("model", {"kind": "mlp", "depth": depth, "activation": activation})
    training = {"epochs": epochs, **parts.pop("training", {})}
    return plan_of(model=model, data=parts.pop("data", DIGITS), training=training, **parts)


def sound(plan: Plan, steps: int | None = None, falling: float = 0.5) -> Evidence:
    """A run in which every layer has a reach of about 1 and the loss falls to `falling` times the first one."""
    made = plan.work.total_steps if steps is None else steps
    noise = np.random.default_rng(0)
    rows = plan.rows_of(Statistic.GRADIENT_NORM)
    loss = np.linspace(2.3, 2.3 * falling, made)
    fan_in = np.array([np.prod(v.shape[:-1]) if v.role == "kernel" else 1.0 for v in rows])
    norms = np.sqrt(fan_in)[:, None] * -np.expm1(-loss) * np.exp(noise.normal(0, 0.2, (len(rows), made)))
    epochs = made // plan.work.steps_per_epoch
    falls, rises = np.linspace(2.3, 2.3 * falling, epochs), np.linspace(0.1, 0.9, epochs)
    by_epoch = {name: rises if "accuracy" in name else falls for name in plan.objective.epoch_metrics}
    return Evidence(plan, np.arange(made), {Statistic.GRADIENT_NORM: norms}, loss, by_epoch)


def with_series(evidence: Evidence, series: Mapping[Statistic, Floats]) -> Evidence:
    """The run with additional or replaced series."""
    return replace(evidence, series={**evidence.series, **series})


def with_loss(evidence: Evidence, loss: Floats, diverged_at_step: int | None = None) -> Evidence:
    """The run with other step losses."""
    return replace(evidence, step_loss=loss, diverged_at_step=diverged_at_step)


def with_epochs(evidence: Evidence, **epochs: npt.ArrayLike) -> Evidence:
    """The run with other metrics of its epochs."""
    return replace(
        evidence, epochs={**evidence.epochs, **{name: np.asarray(values, float) for name, values in epochs.items()}}
    )


def constant(evidence: Evidence, statistic: Statistic, value: float) -> Floats:
    """A series of this statistic with the same value for all variables and steps."""
    return np.full((len(evidence.plan.rows_of(statistic)), len(evidence.steps)), value)


def scaled_norms(evidence: Evidence, decades: Mapping[str, float]) -> Evidence:
    """The run with the gradient norms of these layers (kernel and bias) changed by these decades."""
    rows = evidence.plan.rows_of(Statistic.GRADIENT_NORM)
    factors = np.array([10.0 ** decades.get(variable.layer, 0.0) for variable in rows])
    return with_series(evidence, {Statistic.GRADIENT_NORM: evidence.series[Statistic.GRADIENT_NORM] * factors[:, None]})
