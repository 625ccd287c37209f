"""A stored history as arrays, and the parts of it that an answer shows."""

from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

import numpy as np
import numpy.typing as npt

from service.contract.history import EPOCH_METRICS, FLOAT32
from service.contract.workload import Variable

Floats = npt.NDArray[np.floating]


@dataclass(frozen=True)
class Gradients:
    """A statistic of some variables at some steps: `values` is [variables, steps]."""

    variables: tuple[Variable, ...]
    steps: npt.NDArray[np.int64]
    values: Floats
    whole: "Gradients | None" = None  # what these are fewer points of

    @property
    def first_nonfinite_step(self) -> int | None:
        """The first step at which any of the variables is NaN or infinite."""
        whole = self.whole or self
        broken = np.flatnonzero(~np.isfinite(whole.values).all(axis=0))
        return int(whole.steps[broken[0]]) if len(broken) else None

    def select(self, role: str, layer: str) -> "Gradients":
        """The variables of a role (`all` for every one) in layers that match a glob."""
        kept = [
            i
            for i, variable in enumerate(self.variables)
            if role in ("all", variable.role) and fnmatchcase(variable.layer, layer)
        ]
        return Gradients(tuple(self.variables[i] for i in kept), self.steps, self.values[kept])

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
        return Gradients(self.variables, np.array(steps), np.stack(columns, axis=1), whole=self)


def gradients(packed: bytes, variables: Sequence[Variable], start: int) -> Gradients:
    """Unpack the rows of a stored history that begin at step `start`."""
    values = np.frombuffer(packed, FLOAT32)
    rows = values[: len(values) // len(variables) * len(variables)].reshape(-1, len(variables))
    return Gradients(tuple(variables), np.arange(start, start + len(rows)), rows.T)


def series(packed: bytes) -> Floats:
    """Unpack one value a step."""
    return np.frombuffer(packed, FLOAT32)


def epoch_metrics(packed: bytes) -> dict[str, Floats]:
    """Unpack one value an epoch for each metric."""
    rows = np.frombuffer(packed, FLOAT32).reshape(-1, len(EPOCH_METRICS))
    return {name: rows[:, i] for i, name in enumerate(EPOCH_METRICS)}
