"""A network's variables as one flat vector, and the norm of each from it.

One vector makes the optimizer one operation instead of one a variable. Variables of one shape lie side by side in
it, so that the norms of all of them are one reduction: eleven equal layers cost no more operations than one.
"""

import itertools
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
import tensorflow as tf

# Squares of float32 gradients are summed in float32, first scaled up by 2^40 (1.1e12): norms from about 1e-24 to
# 1e7 pass exactly enough, and every step that holds a norm outside takes the float64 path instead.
SCALE = 2.0**40
SMALLEST_SAFE_SUM, LARGEST_SAFE_SUM = 1e-24, 1e38


@dataclass(frozen=True)
class FlatLayout:
    """Where each variable lies; `shapes` are in the network's order, from input to output.

    The variables of a stack have one shape, lie side by side and are handed out as one tensor [members, …].
    """

    shapes: tuple[tuple[int, ...], ...]
    stacks: tuple[tuple[int, ...], ...] = ()

    @cached_property
    def _parts(self) -> list[tuple[int, ...]]:
        """Variables that are handed out together, as they lie in the vector."""
        stacked = set(itertools.chain(*self.stacks))
        parts = [*self.stacks, *((i,) for i in range(len(self.shapes)) if i not in stacked)]
        return sorted(parts, key=lambda part: (len(self.shapes[part[0]]), self.shapes[part[0]], part[0]))

    @cached_property
    def _order(self) -> list[int]:
        """Positions in the network's order, as they lie in the vector."""
        return list(itertools.chain(*self._parts))

    def flatten_values(self, values: Sequence[npt.ArrayLike], dtype: str) -> npt.NDArray[np.floating]:
        """Arrays in the network's order -> one vector [parameters]."""
        parts = [np.asarray(values[i], dtype).reshape(-1) for i in self._order]
        return np.concatenate(parts) if parts else np.zeros(0, dtype)

    def split_values(self, flat: npt.NDArray[np.floating]) -> list[npt.NDArray[np.floating]]:
        """One vector [parameters] -> arrays in the network's order."""
        arrays: list[npt.NDArray[np.floating]] = [flat[:0]] * len(self.shapes)
        start = 0
        for i in self._order:
            stop = start + math.prod(self.shapes[i])
            arrays[i] = flat[start:stop].reshape(self.shapes[i])
            start = stop
        return arrays

    def flatten(self, tensors: Mapping[int, tf.Tensor]) -> tf.Tensor:
        """What `split` hands out -> one vector [parameters]."""
        return tf.concat([tf.reshape(tensors[part[0]], [-1]) for part in self._parts], axis=0)

    def split(self, flat: tf.Tensor) -> dict[int, tf.Tensor]:
        """One vector [parameters] -> each variable, and each stack [members, …], by the number of its first."""
        if not self.shapes:
            return {}
        sizes = [len(part) * math.prod(self.shapes[part[0]]) for part in self._parts]
        found = {}
        for part, values in zip(self._parts, tf.split(flat, sizes), strict=True):
            shape = self.shapes[part[0]]
            found[part[0]] = tf.reshape(values, (len(part), *shape) if len(part) > 1 else shape)
        return found

    def norms(self, flat: tf.Tensor) -> tf.Tensor:
        """Frobenius norm of each variable of a vector [parameters], in the network's order, as [variables].

        Squaring does not flush: a float32 gradient of norm 1e-30 has that norm here, a float64 one of 1e-300 too.
        """
        norms = self._float64_norms(flat) if flat.dtype == tf.float64 else self._float32_norms(flat)
        return tf.gather(norms, np.argsort(self._order))

    def spread(self, values: tf.Tensor) -> tf.Tensor:
        """One value a variable, in the network's order, for each entry of a vector [parameters]."""
        in_vector = tf.gather(values, self._order)
        parts = []
        first = 0
        for shape, members in itertools.groupby(self._order, key=lambda i: self.shapes[i]):
            count = len(list(members))
            part = tf.broadcast_to(in_vector[first : first + count, None], (count, math.prod(shape)))
            parts.append(tf.reshape(part, [-1]))
            first += count
        return tf.concat(parts, axis=0)

    def sums(self, flat: tf.Tensor) -> tf.Tensor:
        """Sum over each variable of a vector [parameters], in the network's order, as [variables]."""
        return tf.gather(self._sums(flat), np.argsort(self._order))

    def means(self, flat: tf.Tensor) -> tf.Tensor:
        """Mean over each variable of a vector [parameters], in the network's order, as [variables]."""
        return self.sums(flat) / tf.constant([math.prod(shape) for shape in self.shapes], flat.dtype)

    def variances(self, flat: tf.Tensor) -> tf.Tensor:
        """Variance over each variable of a vector [parameters], in the network's order, as [variables]."""
        found = tf.concat([tf.math.reduce_variance(part, axis=1) for _, _, part in self._groups(flat)], axis=0)
        return tf.gather(found, np.argsort(self._order))

    def _float32_norms(self, flat: tf.Tensor) -> tf.Tensor:
        sums = self._sums(tf.square(flat * SCALE))
        safe = tf.reduce_all((sums > SMALLEST_SAFE_SUM) & (sums < LARGEST_SAFE_SUM))
        return tf.cond(
            safe,
            lambda: tf.sqrt(sums) / SCALE,
            lambda: tf.cast(tf.sqrt(self._sums(tf.square(tf.cast(flat, tf.float64)))), tf.float32),
        )

    def _float64_norms(self, flat: tf.Tensor) -> tf.Tensor:
        largest = tf.reduce_max(tf.abs(flat))
        sums = self._sums(tf.square(flat))
        safe = tf.reduce_all(sums > 1e-280) & (largest < 1e140)

        def each_by_its_largest() -> tf.Tensor:
            norms = []
            for _, _, part in self._groups(flat):
                unit = tf.reduce_max(tf.abs(part), axis=1, keepdims=True)
                unit = tf.where(unit > 0, unit, tf.ones_like(unit))  # XLA's maximum of NaN and zeros is 0
                norms.append(tf.sqrt(tf.reduce_sum(tf.square(part / unit), axis=1)) * unit[:, 0])
            return tf.concat(norms, axis=0)

        return tf.cond(safe, lambda: tf.sqrt(sums), each_by_its_largest)

    def _sums(self, flat: tf.Tensor) -> tf.Tensor:
        """Sum over each variable of a vector [parameters], in the vector's order.

        The inner sum is a product with ones: XLA's plain reductions on a CPU add one number at a time.
        """
        sums = []
        for count, shape, part in self._groups(flat):
            rows = tf.reshape(part, (-1, shape[-1]))
            inner = tf.linalg.matvec(rows, tf.ones(shape[-1], flat.dtype))
            sums.append(tf.reduce_sum(tf.reshape(inner, (count, -1)), axis=1))
        return tf.concat(sums, axis=0)

    def _groups(self, flat: tf.Tensor) -> Iterable[tuple[int, tuple[int, ...], tf.Tensor]]:
        """(count, shape, [count, entries]) for each run of variables of one shape."""
        start = 0
        for shape, members in itertools.groupby(self._order, key=lambda i: self.shapes[i]):
            count, entries = len(list(members)), math.prod(shape)
            stop = start + count * entries
            yield count, shape, tf.reshape(flat[start:stop], (count, entries))
            start = stop
