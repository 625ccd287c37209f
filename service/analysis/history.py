"""A stored history as arrays, and the parts of it that an answer shows."""

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase

import numpy as np
import numpy.typing as npt

from service.contract.history_format import value_format
from service.contract.network.graph import Variable
from service.contract.plan import Plan
from service.contract.recording_spec import Statistic

Floats = npt.NDArray[np.floating]

STEPS_AT_ONCE = 2**14  # looked at together, so that no second array as large as a history is made

# Without a value by nature: an update of a variable that is all zeros, activations that are bounded nowhere.
GAPS = {
    Statistic.UPDATE_RATIO,
    Statistic.SATURATED_FRACTION,
    Statistic.FRACTION_BEYOND_SAGEMAKER,
    Statistic.FRACTION_BEYOND_DEEPDIAGNOSIS,
}


@dataclass(frozen=True)
class FirstBatch:
    """The batch of step 0."""

    rows: Floats  # [batch, …] as the network reads them
    errors: Floats  # [batch, outputs], batch · ∂loss/∂logits


@dataclass(frozen=True)
class Gradients:
    """A statistic of some variables at some steps: `values` is [variables, steps]."""

    variables: tuple[Variable, ...]
    steps: npt.NDArray[np.int64]
    values: Floats
    has_gaps: bool = False  # whether the statistic is of GAPS
    hidden_nonfinite_step: int | None = None  # the first one, where these are fewer points than there were

    @property
    def first_nonfinite_step(self) -> int | None:
        """The first step at which any of the variables is NaN or infinite; those without a gradient do not count.

        None for statistics that have no value where nothing is wrong.
        """
        if self.has_gaps or self.hidden_nonfinite_step is not None:
            return self.hidden_nonfinite_step
        meant = np.array([variable.has_gradient for variable in self.variables], bool)[:, None]
        for first in range(0, len(self.steps), STEPS_AT_ONCE):
            finite = np.isfinite(self.values[:, first : first + STEPS_AT_ONCE])
            broken = np.flatnonzero(~finite.all(axis=0, where=meant))
            if len(broken):
                return int(self.steps[first + broken[0]])
        return None

    def select(self, role: str, layer: str) -> "Gradients":
        """The variables of a role (`all` for every one) in layers that match a glob."""
        kept = [
            i
            for i, variable in enumerate(self.variables)
            if role in ("all", variable.role) and fnmatchcase(variable.layer, layer)
        ]
        return self._only(kept)

    def with_gradient(self) -> "Gradients":
        """The variables that the loss depends on."""
        return self._only([i for i, variable in enumerate(self.variables) if variable.has_gradient])

    def _only(self, kept: Sequence[int]) -> "Gradients":
        if len(kept) == len(self.variables):
            return self
        rows = np.take(self.values.T, kept, axis=1)  # in the order in which they are stored, which is faster
        return replace(self, variables=tuple(self.variables[i] for i in kept), values=rows.T)

    def root_mean_squares(self) -> "Gradients":
        """The same norms over the square root of each variable's number of entries."""
        entries = np.array([math.prod(variable.shape) for variable in self.variables], self.values.dtype)
        return replace(self, values=self.values / np.sqrt(entries)[:, None])

    def downsampled(self, max_points: int) -> "Gradients":
        """At most `max_points` steps, as `thinned` chooses them."""
        count = len(self.steps)
        return joined(thinned([self], count, max_points), points(count, max_points))


def points(count: int, max_points: int | None) -> int:
    """How many of `count` steps are left when `thinned` has cut them to `max_points`."""
    return count if max_points is None or count <= max_points else 2 * (max_points // 2)


def thinned(blocks: Iterable[Gradients], count: int, max_points: int | None) -> Iterator[Gradients]:
    """At most `max_points` of the `count` steps of consecutive blocks.

    The steps are cut into buckets that all variables share. A bucket shows two steps, its first and its last, and of
    each variable its smallest and its largest value in the order in which they occurred, so peaks stay. What is not
    finite gives way to what is.
    """
    if max_points is None or count <= max_points:
        yield from blocks
        return
    edges = np.linspace(0, count, max_points // 2 + 1).astype(int).tolist()
    bucket, position, nonfinite = 0, 0, None  # position: steps before the block
    begun: Floats = np.empty((0, 0))  # the extremes so far of a bucket, and its first step
    begun_at = np.int64(0)
    for block in blocks:
        if nonfinite is None:
            nonfinite = block.first_nonfinite_step
        steps: list[np.int64] = []
        columns: list[Floats] = []
        end = position + len(block.steps)
        while bucket < len(edges) - 1 and edges[bucket] < end:
            first, last = max(edges[bucket] - position, 0), min(edges[bucket + 1], end) - position - 1
            values = block.values[:, first : last + 1]
            if edges[bucket] < position:  # begun in an earlier block, of which its two values stand for the rest
                values = np.hstack([begun, values])
            else:
                begun_at = block.steps[first]
            begun = _extremes(values)
            if edges[bucket + 1] > end:
                break
            steps += [begun_at, block.steps[last]]
            columns.append(begun)
            bucket += 1
        position = end
        if columns:
            yield replace(block, steps=np.array(steps), values=np.hstack(columns), hidden_nonfinite_step=nonfinite)


def _extremes(values: Floats) -> Floats:
    """Each row's smallest and largest finite value, in the order in which they occur; its first if none is finite."""
    finite, rows = np.isfinite(values), np.arange(len(values))
    lowest = np.where(finite, values, np.inf).argmin(axis=1)
    highest = np.where(finite, values, -np.inf).argmax(axis=1)
    return np.stack([values[rows, np.minimum(lowest, highest)], values[rows, np.maximum(lowest, highest)]], axis=1)


def joined(blocks: Iterable[Gradients], count: int) -> Gradients:
    """Consecutive blocks of `count` steps together, at least one, as one; a variable's values are side by side."""
    whole: Gradients | None = None
    filled = 0
    for block in blocks:
        if whole is None:
            values = np.empty((len(block.variables), count), block.values.dtype)
            whole = replace(block, steps=np.empty(count, np.int64), values=values)
        stop = filled + len(block.steps)
        whole.steps[filled:stop], whole.values[:, filled:stop] = block.steps, block.values
        filled = stop
    if whole is None:
        raise ValueError("no block to join")
    return replace(whole, hidden_nonfinite_step=block.hidden_nonfinite_step)  # of all: the last one knows


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


def first_batch(packed: bytes, planned: Plan) -> FirstBatch | None:
    """Unpack the first batch; None where it was not kept, is not there yet, or holds what is not finite."""
    if not packed or len(packed) != planned.first_batch_bytes:
        return None
    numbers = np.frombuffer(packed, value_format(planned.spec.training.precision))
    if not np.isfinite(numbers).all():
        return None
    batch, outputs = planned.batch_size, planned.objective.output_units
    rows, errors = np.split(numbers, [len(numbers) - batch * outputs])
    return FirstBatch(rows.reshape(batch, *planned.shape.input_shape), errors.reshape(batch, outputs))
