"""What a diagnosis rests on: a stored history, the plan of its run, and theory's prediction."""

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
Made = TypeVar("Made")


class PredictedLayer(Protocol):
    """What is read of theory's prediction for a variable."""

    @property
    def name(self) -> str:
        """As in `plan.variables`."""

    @property
    def log10_norm(self) -> float:
        """Of the gradient at step 0."""

    @property
    def spread(self) -> float:
        """One standard deviation of it over seeds, in decades."""


class Predicted(Protocol):
    """What is read of theory's prediction for a run."""

    @property
    def slope(self) -> float | None:
        """Decades lost a layer towards the input."""

    @property
    def layers(self) -> Sequence[PredictedLayer]:
        """Kernels and biases from input to output."""


@dataclass(frozen=True, eq=False)
class Evidence:
    """A run as it was recorded, whether it has ended or not."""

    plan: Plan
    steps: npt.NDArray[np.int64]  # the numbers of the recorded steps
    series: Mapping[Statistic, Floats]  # [rows, recorded steps], rows as plan.rows_of(statistic); what was recorded
    step_loss: Floats  # [steps so far]
    epochs: Mapping[str, Floats]  # metric -> [epochs so far]
    diverged_at_step: int | None = None
    prediction: Predicted | None = None
    _made: dict[Any, Any] = field(default_factory=dict, init=False, repr=False)

    def once(self, make: Callable[["Evidence"], Made]) -> Made:
        """What `make` makes of it, made for the first of the rules that ask."""
        if make not in self._made:
            self._made[make] = make(self)
        made: Made = self._made[make]
        return made

    def rows(self, statistic: Statistic, *roles: str) -> "Rows":
        """The recorded rows of a statistic, of these roles only if any are named; KeyError if it was not recorded."""
        variables = self.plan.rows_of(statistic)
        kept = [i for i, variable in enumerate(variables) if not roles or variable.role in roles]
        values = self.series[statistic]
        return Rows(tuple(variables[i] for i in kept), values if len(kept) == len(variables) else values[kept])

    @property
    def steps_apart(self) -> float:
        """How many steps of the run there are for each recorded one."""
        if len(self.steps) < 2:
            return float(self.plan.spec.recording.every)
        return float(self.steps[-1] - self.steps[0]) / (len(self.steps) - 1)

    def recorded(self, first: int, last: int) -> tuple[int, int]:
        """The last recorded step up to each of two steps of the run; the first one where there is none before."""
        places = np.clip(np.searchsorted(self.steps, [first, last], side="right") - 1, 0, None)
        return int(self.steps[places[0]]), int(self.steps[places[1]])

    @cached_property
    def epoch_ends(self) -> npt.NDArray[np.int64]:
        """For each finished epoch the index among `steps` of the state that it left, or of the last one before."""
        epochs = max((len(values) for values in self.epochs.values()), default=0)
        last = np.arange(1, epochs + 1) * self.plan.work.steps_per_epoch
        if len(self.steps) == 0:
            return np.zeros(0, np.int64)
        return np.minimum(np.searchsorted(self.steps, last), len(self.steps) - 1)


@dataclass(frozen=True, eq=False)
class Rows:
    """Some rows of a statistic: `values` is [variables, recorded steps]."""

    variables: tuple[Variable, ...]
    values: Floats

    def layers(self, which: npt.ArrayLike) -> tuple[str, ...]:
        """The layers of the variables for which it is so [variables], each once."""
        named = (self.variables[i].layer for i in np.flatnonzero(which))
        return tuple(dict.fromkeys(named))
