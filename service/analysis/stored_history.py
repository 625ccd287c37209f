"""Stored histories as arrays: unpacking, selection of variables, and thinning to a number of points.

The binary layout is that of `service.contract.history_format`: little-endian floats in the precision of the run.
"""

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

STEPS_PER_SCAN = 2**14  # steps scanned at a time, which avoids a mask as large as the whole history

# Statistics that have no value for some variables of a sound run: the update ratio of a variable that is all zeros,
# the saturated fraction of an activation without bounds.
STATISTICS_WITH_GAPS = {
    Statistic.UPDATE_RATIO,
    Statistic.SATURATED_FRACTION,
    Statistic.FRACTION_BEYOND_SAGEMAKER,
    Statistic.FRACTION_BEYOND_DEEPDIAGNOSIS,
}


@dataclass(frozen=True)
class StoredFirstBatch:
    """The batch of step 0 and its output errors, as the worker stored them."""

    inputs: Floats  # [batch, *input_shape], scaled as the network reads them
    errors: Floats  # [batch, outputs], batch · ∂loss/∂logits


@dataclass(frozen=True)
class Gradients:
    """One statistic of some variables at some recorded steps."""

    variables: tuple[Variable, ...]  # trainable variables, or hidden activations
    steps: npt.NDArray[np.int64]  # [steps]
    values: Floats  # [variables, steps], in the precision of the run
    has_gaps: bool = False  # whether the statistic is in STATISTICS_WITH_GAPS
    hidden_nonfinite_step: int | None = None  # the first nonfinite step of the history that these points thin out

    @property
    def first_nonfinite_step(self) -> int | None:
        """The first step at which a variable is NaN or infinite.

        Variables without a gradient do not count. None if all values are finite, and for STATISTICS_WITH_GAPS.
        """
        if self.has_gaps or self.hidden_nonfinite_step is not None:
            return self.hidden_nonfinite_step
        with_gradient = np.array([variable.has_gradient for variable in self.variables], bool)[:, None]
        for first in range(0, len(self.steps), STEPS_PER_SCAN):
            finite = np.isfinite(self.values[:, first : first + STEPS_PER_SCAN])
            broken = np.flatnonzero(~finite.all(axis=0, where=with_gradient))
            if len(broken):
                return int(self.steps[first + broken[0]])
        return None

    def select(self, role: str, layer: str) -> "Gradients":
        """Choose variables by role and layer.

        Args:
            role: a role such as `kernel`, or `all`.
            layer: a glob for the layer's name, as `fnmatch` reads it, case-sensitive.

        Returns:
            The chosen variables in the same order; itself if all are chosen.
        """
        kept = [
            i
            for i, variable in enumerate(self.variables)
            if role in ("all", variable.role) and fnmatchcase(variable.layer, layer)
        ]
        if len(kept) == len(self.variables):
            return self
        by_step = np.take(self.values.T, kept, axis=1)  # along the memory order of the store, which is faster
        return replace(self, variables=tuple(self.variables[i] for i in kept), values=by_step.T)

    def expanded(self, variables: tuple[Variable, ...]) -> "Gradients":
        """Add the variables that the loss does not depend on, which are not stored.

        Args:
            variables: all variables of the plan; those with a gradient must be the ones of this object, in order.

        Returns:
            A copy with all variables and NaN for each added one; itself if there is nothing to add.
        """
        if len(variables) == len(self.variables):
            return self
        values = np.full((len(variables), len(self.steps)), np.nan, self.values.dtype)
        values[[variable.has_gradient for variable in variables]] = self.values
        return replace(self, variables=variables, values=values)

    def root_mean_squares(self) -> "Gradients":
        """Turn Frobenius norms into root mean squares: divide by the square root of the number of entries."""
        entries = np.array([math.prod(variable.shape) for variable in self.variables], self.values.dtype)
        return replace(self, values=self.values / np.sqrt(entries)[:, None])


def points(count: int, max_points: int | None) -> int:
    """The number of steps that `thinned` leaves of `count` steps."""
    return count if max_points is None or count <= max_points else 2 * (max_points // 2)


def thinned(blocks: Iterable[Gradients], count: int, max_points: int | None) -> Iterator[Gradients]:
    """Thin consecutive blocks to at most `max_points` steps, keeping the extremes of every variable.

    The steps are divided into buckets that all variables share. A bucket yields two points, labeled with its first and
    its last step: the smallest and the largest finite value of each variable, in the order in which they occur.
    Nonfinite values appear only in a bucket without a finite value.

    Args:
        blocks: consecutive parts of one history; `count` steps in total.
        count: number of steps of all blocks.
        max_points: at least 2; None, or at least `count`, to change nothing.

    Yields:
        Blocks with `points(count, max_points)` steps in total. Each contains the first nonfinite step up to its end.
    """
    if max_points is None or count <= max_points:
        yield from blocks
        return
    edges = np.linspace(0, count, max_points // 2 + 1).astype(int).tolist()
    bucket, position, nonfinite = 0, 0, None  # position: number of steps before the current block
    begun: Floats = np.empty((0, 0))  # the extremes so far of a bucket that began in an earlier block
    begun_at = np.int64(0)  # the first step of that bucket
    for block in blocks:
        if nonfinite is None:
            nonfinite = block.first_nonfinite_step
        steps: list[np.int64] = []
        columns: list[Floats] = []
        end = position + len(block.steps)
        while bucket < len(edges) - 1 and edges[bucket] < end:
            first, last = max(edges[bucket] - position, 0), min(edges[bucket + 1], end) - position - 1
            values = block.values[:, first : last + 1]
            if edges[bucket] < position:
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
    """The smallest and the largest finite value of each row [rows, 2], in the order in which they occur.

    A row without a finite value gives its first value twice.
    """
    finite, rows = np.isfinite(values), np.arange(len(values))
    lowest = np.where(finite, values, np.inf).argmin(axis=1)
    highest = np.where(finite, values, -np.inf).argmax(axis=1)
    return np.stack([values[rows, np.minimum(lowest, highest)], values[rows, np.maximum(lowest, highest)]], axis=1)


def joined(blocks: Iterable[Gradients], count: int) -> Gradients:
    """Join consecutive blocks into one object whose values are contiguous per variable.

    Args:
        blocks: at least one block; `count` steps in total.
        count: number of steps of all blocks.

    Raises:
        ValueError: there is no block.
    """
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
    return replace(whole, hidden_nonfinite_step=block.hidden_nonfinite_step)  # the last block has that of all blocks


def unpacked(packed: bytes, planned: Plan, statistic: Statistic, first_row: int) -> Gradients:
    """Unpack consecutive recorded steps of one statistic.

    Args:
        packed: stored bytes, one value per stored variable and recorded step; an incomplete last step is ignored.
        planned: the plan of the run.
        statistic: the statistic that the bytes hold.
        first_row: index of the first recorded step; its step number is `first_row` · `recording.every`.

    Returns:
        The stored variables, that is, those with a gradient. The values are a view of `packed`.
    """
    stored = planned.rows_of(statistic)
    every = planned.spec.recording.every
    numbers = np.frombuffer(packed, value_format(planned.spec.training.precision))
    complete = len(numbers) // max(len(stored), 1)
    values = numbers[: complete * len(stored)].reshape(complete, len(stored)).T
    steps = np.arange(first_row, first_row + complete) * every
    return Gradients(stored, steps, values, has_gaps=statistic in STATISTICS_WITH_GAPS)


def series(packed: bytes, values: str) -> Floats:
    """Unpack a series with one value per step [steps]; `values` is NumPy's name of the stored format."""
    return np.frombuffer(packed, values)


def table(packed: bytes, names: Sequence[str], values: str) -> dict[str, Floats]:
    """Unpack a table with one value per epoch and name; `values` is NumPy's name of the stored format."""
    by_epoch = np.frombuffer(packed, values).reshape(-1, len(names))
    return {name: by_epoch[:, i] for i, name in enumerate(names)}


def first_batch(packed: bytes, planned: Plan) -> StoredFirstBatch | None:
    """Unpack the first batch of a run.

    Args:
        packed: stored bytes, the inputs followed by the errors.
        planned: the plan of the run.

    Returns:
        The batch; None if the plan keeps none, if it is not stored yet, or if a value is not finite.
    """
    if not packed or len(packed) != planned.first_batch_bytes:
        return None
    numbers = np.frombuffer(packed, value_format(planned.spec.training.precision))
    if not np.isfinite(numbers).all():
        return None
    batch, outputs = planned.batch_size, planned.objective.output_units
    inputs, errors = np.split(numbers, [len(numbers) - batch * outputs])
    return StoredFirstBatch(inputs.reshape(batch, *planned.shape.input_shape), errors.reshape(batch, outputs))
