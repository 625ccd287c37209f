"""A stored history as arrays, and the parts of it that an answer shows."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

import numpy as np
import numpy.typing as npt

from service.contract.history import value_format
from service.contract.network.graph import Variable
from service.contract.plan import Plan
from service.contract.recording_spec import Statistic

Floats = npt.NDArray[np.floating]

# Without a value by nature: an update of a variable that is all zeros, activations that are bounded nowhere.
GAPS = {
    Statistic.UPDATE_RATIO,
    Statistic.SATURATED_FRACTION,
    Statistic.FRACTION_BEYOND_SAGEMAKER,
    Statistic.FRACTION_BEYOND_DEEPDIAGNOSIS,
}


@dataclass(frozen=True)
class Gradients:
    """A statistic of some variables at some steps: `values` is [variables, steps]."""

    variables: tuple[Variable, ...]
    steps: npt.NDArray[np.int64]
    values: Floats
    whole: "Gradients | None" = None  # what these are fewer points of
    has_gaps: bool = False  # whether the statistic is of GAPS

    @property
    def first_nonfinite_step(self) -> int | None:
        """The first step at which any of the variables is NaN or infinite; those without a gradient do not count.

        None for statistics that have no value where nothing is wrong.
        """
        if self.has_gaps:
            return None
        whole = self.whole or self
        meant = [variable.has_gradient for variable in whole.variables]
        broken = np.flatnonzero(~np.isfinite(whole.values[meant]).all(axis=0))
        return int(whole.steps[broken[0]]) if len(broken) else None

    def select(self, role: str, layer: str) -> "Gradients":
        """The variables of a role (`all` for every one) in layers that match a glob."""
        kept = [
            i
            for i, variable in enumerate(self.variables)
            if role in ("all", variable.role) and fnmatchcase(variable.layer, layer)
        ]
        chosen = tuple(self.variables[i] for i in kept)
        return Gradients(chosen, self.steps, self.values[kept], has_gaps=self.has_gaps)

    def root_mean_squares(self) -> "Gradients":
        """The same norms over the square root of each variable's number of entries."""
        entries = np.array([math.prod(variable.shape) for variable in self.variables], self.values.dtype)
        return Gradients(self.variables, self.steps, self.values / np.sqrt(entries)[:, None])

    def downsampled(self, max_points: int) -> "Gradients":
        """At most `max_points` steps: each bucket of steps keeps each variable's smallest and largest value.

        Buckets are shared by all variables. A bucket shows two steps, its first and its last, and the two values in
        the order in which they occurred, so peaks stay. What is not finite gives way to what is.
        """
        count = self.values.shape[1]
        if count <= max_points:
            return self
        edges = np.linspace(0, count, max_points // 2 + 1).astype(int)
        steps, columns = [], []
        for first, last in zip(edges[:-1], edges[1:] - 1, strict=True):
            bucket = self.values[:, first : last + 1]
            finite = np.isfinite(bucket)
            lowest = np.where(finite, bucket, np.inf).argmin(axis=1)
            highest = np.where(finite, bucket, -np.inf).argmax(axis=1)
            rows = np.arange(len(bucket))
            columns += [bucket[rows, np.minimum(lowest, highest)], bucket[rows, np.maximum(lowest, highest)]]
            steps += [self.steps[first], self.steps[last]]
        return Gradients(self.variables, np.array(steps), np.stack(columns, axis=1), self, self.has_gaps)


def unpacked(packed: bytes, planned: Plan, statistic: Statistic, first_row: int) -> Gradients:
    """A stored statistic from its recorded row `first_row` on; what has no gradient has a row of NaN."""
    stored = planned.rows_of(statistic)
    every = planned.spec.recording.every
    numbers = np.frombuffer(packed, value_format(planned.spec.training.precision))
    complete = len(numbers) // max(len(stored), 1)
    rows = numbers[: complete * len(stored)].reshape(complete, len(stored))
    steps = np.arange(first_row, first_row + complete) * every
    shown = stored if statistic.of_activations else planned.variables
    if len(shown) == len(stored):
        return Gradients(shown, steps, rows.T, has_gaps=statistic in GAPS)
    values = np.full((len(shown), len(rows)), np.nan, rows.dtype)
    values[[variable.has_gradient for variable in shown]] = rows.T
    return Gradients(shown, steps, values, has_gaps=statistic in GAPS)


def series(packed: bytes, values: str) -> Floats:
    """Unpack one value a step, stored in this format of NumPy's."""
    return np.frombuffer(packed, values)


def table(packed: bytes, names: Sequence[str], values: str) -> dict[str, Floats]:
    """Unpack one value an epoch for each name."""
    rows = np.frombuffer(packed, values).reshape(-1, len(names))
    return {name: rows[:, i] for i, name in enumerate(names)}
