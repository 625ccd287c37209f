"""The evidence of a diagnosis: a recorded history, the plan of its run, and a theoretical prediction."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Protocol, TypeVar

import numpy as np
import numpy.typing as npt

from service.contract.network.graph import Variable
from service.contract.plan import Plan
from service.contract.recording_spec import Statistic

Floats = npt.NDArray[np.floating]
Bools = npt.NDArray[np.bool_]
Derived = TypeVar("Derived")


class PredictedLayer(Protocol):
    """The fields of a variable's prediction that rules read."""

    @property
    def name(self) -> str:
        """Name of the variable in `plan.variables`."""

    @property
    def log10_norm(self) -> float:
        """Expected log10 of its gradient norm at step 0."""

    @property
    def spread(self) -> float:
        """Standard deviation of log10_norm over seeds, in decades."""


class Predicted(Protocol):
    """The fields of a run's prediction that rules read."""

    @property
    def slope(self) -> float | None:
        """Decades lost per layer towards the input."""

    @property
    def layers(self) -> Sequence[PredictedLayer]:
        """Kernels and biases from input to output."""


@dataclass(frozen=True, eq=False)
class Evidence:
    """What a run has recorded so far, whether it has ended or not."""

    plan: Plan
    steps: npt.NDArray[np.int64]  # [recorded steps], step numbers
    series: Mapping[Statistic, Floats]  # recorded ones: [variables of plan.rows_of(statistic), recorded steps]
    step_loss: Floats  # [steps so far], recorded or not
    epochs: Mapping[str, Floats]  # metric -> [epochs so far]
    diverged_at_step: int | None = None
    prediction: Predicted | None = None
    _derived: dict[Any, Any] = field(default_factory=dict, init=False, repr=False)

    def once(self, derive: Callable[["Evidence"], Derived]) -> Derived:
        """The result of `derive` for this evidence, computed at the first call and shared by all rules."""
        if derive not in self._derived:
            self._derived[derive] = derive(self)
        derived: Derived = self._derived[derive]
        return derived

    def rows(self, statistic: Statistic, *roles: str) -> "Rows":
        """The recorded values of a statistic.

        Args:
            statistic: a recorded statistic.
            roles: roles of variables to choose; all variables if empty.

        Raises:
            KeyError: the statistic was not recorded.
        """
        variables = self.plan.rows_of(statistic)
        kept = [i for i, variable in enumerate(variables) if not roles or variable.role in roles]
        values = self.series[statistic]
        return Rows(tuple(variables[i] for i in kept), values if len(kept) == len(variables) else values[kept])

    @property
    def steps_per_record(self) -> float:
        """Mean number of steps from one recorded step to the next."""
        if len(self.steps) < 2:
            return float(self.plan.spec.recording.every)
        return float(self.steps[-1] - self.steps[0]) / (len(self.steps) - 1)

    def recorded_span(self, first: int, last: int) -> tuple[int, int]:
        """The last recorded step at or before each of two steps; the first recorded step if there is none."""
        indices = np.clip(np.searchsorted(self.steps, [first, last], side="right") - 1, 0, None)
        return int(self.steps[indices[0]]), int(self.steps[indices[1]])

    @cached_property
    def epoch_ends(self) -> npt.NDArray[np.int64]:
        """Index among `steps` of the first recorded step after each finished epoch [epochs].

        Statistics of a step describe the weights before its update, so that step shows what the epoch left. The last
        recorded step is used if there is none after the epoch.
        """
        epochs = max((len(values) for values in self.epochs.values()), default=0)
        last = np.arange(1, epochs + 1) * self.plan.work.steps_per_epoch
        if len(self.steps) == 0:
            return np.zeros(0, np.int64)
        return np.minimum(np.searchsorted(self.steps, last), len(self.steps) - 1)


@dataclass(frozen=True, eq=False)
class Rows:
    """One statistic of some variables at all recorded steps."""

    variables: tuple[Variable, ...]
    values: Floats  # [variables, recorded steps]

    def layers(self, chosen: npt.ArrayLike) -> tuple[str, ...]:
        """`layer_names` of these variables."""
        return layer_names(self.variables, chosen)


def layer_names(variables: tuple[Variable, ...], chosen: npt.ArrayLike) -> tuple[str, ...]:
    """Names of the layers of the variables for which `chosen` [variables] is true, without repetition."""
    names = (variables[i].layer for i in np.flatnonzero(chosen))
    return tuple(dict.fromkeys(names))
