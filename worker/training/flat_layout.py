"""All variables of a network in one flat vector, and reductions of such a vector per variable.

With one vector, an optimizer needs a few operations in all instead of a few per variable. Variables of equal shape are
adjacent in it, so that one reduction serves all of them: eleven equal layers take no more operations than one
(docs/decisions/0001).
"""

import itertools
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
import tensorflow as tf

# Squares of float32 gradients are summed in float32 after scaling by 2^40 (1.1e12). Norms from about 1e-24 to 1e7 then
# lose no digits to underflow or overflow; if any norm of a step is outside, the step sums its squares in float64.
SCALE = 2.0**40
MIN_SAFE_SUM, MAX_SAFE_SUM = 1e-24, 1e38  # of the scaled squares


@dataclass(frozen=True)
class FlatLayout:
    """The position of each variable in a flat vector [parameters].

    The network's order is from input to output. The vector's order groups variables of equal shape.

    Attributes:
        shapes: Shape of each variable, in the network's order.
        stacks: Indices of variables that `split` returns as one tensor [members, …]: a variable of a repeated block in
            all repetitions. The members have one shape and are adjacent in the vector.
    """

    shapes: tuple[tuple[int, ...], ...]
    stacks: tuple[tuple[int, ...], ...] = ()

    @cached_property
    def _parts(self) -> list[tuple[int, ...]]:
        """Indices of the variables of each stack, or of a single variable, in the vector's order."""
        stacked = set(itertools.chain(*self.stacks))
        parts = [*self.stacks, *((i,) for i in range(len(self.shapes)) if i not in stacked)]
        return sorted(parts, key=lambda part: (len(self.shapes[part[0]]), self.shapes[part[0]], part[0]))

    @cached_property
    def _order(self) -> list[int]:
        """Index of each variable in the network's order, listed in the vector's order."""
        return list(itertools.chain(*self._parts))

    def flatten_values(self, values: Sequence[npt.ArrayLike], dtype: str) -> npt.NDArray[np.floating]:
        """Concatenate arrays.

        Args:
            values: One array per variable, in the network's order.
            dtype: "float32" or "float64".

        Returns:
            [parameters], a copy.
        """
        parts = [np.asarray(values[i], dtype).reshape(-1) for i in self._order]
        return np.concatenate(parts) if parts else np.zeros(0, dtype)

    def split_values(self, flat: npt.NDArray[np.floating]) -> list[npt.NDArray[np.floating]]:
        """Return views of a vector [parameters], one array per variable in the network's order."""
        arrays: list[npt.NDArray[np.floating]] = [flat[:0]] * len(self.shapes)
        start = 0
        for i in self._order:
            stop = start + math.prod(self.shapes[i])
            arrays[i] = flat[start:stop].reshape(self.shapes[i])
            start = stop
        return arrays

    def flatten(self, tensors: Mapping[int, tf.Tensor]) -> tf.Tensor:
        """Concatenate tensors as `split` returns them to one vector [parameters]."""
        return tf.concat([tf.reshape(tensors[part[0]], [-1]) for part in self._parts], axis=0)

    def split(self, flat: tf.Tensor) -> dict[int, tf.Tensor]:
        """Split a vector [parameters].

        Returns:
            Index -> variable. A stack is one tensor [members, …] under the index of its first member.
        """
        if not self.shapes:
            return {}
        sizes = [len(part) * math.prod(self.shapes[part[0]]) for part in self._parts]
        found = {}
        for part, values in zip(self._parts, tf.split(flat, sizes), strict=True):
            shape = self.shapes[part[0]]
            found[part[0]] = tf.reshape(values, (len(part), *shape) if len(part) > 1 else shape)
        return found

    def norms(self, flat: tf.Tensor) -> tf.Tensor:
        """Compute the Frobenius norm of each variable.

        Squares neither underflow nor overflow: a float32 gradient of norm 1e-30 has that norm here, and so has a
        float64 gradient of norm 1e-300. A NaN or infinite entry makes the norm of its own variable not finite, and
        leaves the other norms as they are.

        Args:
            flat: [parameters], float32 or float64.

        Returns:
            [variables] in the network's order, of the same dtype.
        """
        norms = self._float64_norms(flat) if flat.dtype == tf.float64 else self._float32_norms(flat)
        return tf.gather(norms, np.argsort(self._order))

    def spread(self, values: tf.Tensor) -> tf.Tensor:
        """Repeat one value per variable, [variables] in the network's order, over all its entries, as [parameters]."""
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
        """Sum each variable of a vector [parameters], as [variables] in the network's order."""
        return tf.gather(self._sums(flat), np.argsort(self._order))

    def means(self, flat: tf.Tensor) -> tf.Tensor:
        """Average each variable of a vector [parameters], as [variables] in the network's order."""
        return self.sums(flat) / tf.constant([math.prod(shape) for shape in self.shapes], flat.dtype)

    def variances(self, flat: tf.Tensor) -> tf.Tensor:
        """Compute the population variance of each variable of a vector [parameters].

        Returns:
            [variables] in the network's order.
        """
        found = tf.concat([tf.math.reduce_variance(part, axis=1) for _, _, part in self._groups(flat)], axis=0)
        return tf.gather(found, np.argsort(self._order))

    def _float32_norms(self, flat: tf.Tensor) -> tf.Tensor:
        sums = self._sums(tf.square(flat * SCALE))
        safe = tf.reduce_all((sums > MIN_SAFE_SUM) & (sums < MAX_SAFE_SUM))
        return tf.cond(
            safe,
            lambda: tf.sqrt(sums) / SCALE,
            lambda: tf.cast(tf.sqrt(self._sums(tf.square(tf.cast(flat, tf.float64)))), tf.float32),
        )

    def _float64_norms(self, flat: tf.Tensor) -> tf.Tensor:
        largest = tf.reduce_max(tf.abs(flat))
        sums = self._sums(tf.square(flat))
        safe = tf.reduce_all(sums > 1e-280) & (largest < 1e140)

        def each_scaled_by_its_largest() -> tf.Tensor:
            norms = []
            for _, _, part in self._groups(flat):
                unit = tf.reduce_max(tf.abs(part), axis=1, keepdims=True)
                unit = tf.where(unit > 0, unit, tf.ones_like(unit))  # under XLA, the maximum of NaN and zeros is 0
                norms.append(tf.sqrt(tf.reduce_sum(tf.square(part / unit), axis=1)) * unit[:, 0])
            return tf.concat(norms, axis=0)

        return tf.cond(safe, lambda: tf.sqrt(sums), each_scaled_by_its_largest)

    def _sums(self, flat: tf.Tensor) -> tf.Tensor:
        """Sum each variable of a vector [parameters], as [variables] in the vector's order.

        The inner sum is a product with ones, because XLA's own reductions on a CPU add one number at a time.
        """
        sums = []
        for count, shape, part in self._groups(flat):
            matrix = tf.reshape(part, (-1, shape[-1]))
            inner = tf.linalg.matvec(matrix, tf.ones(shape[-1], flat.dtype))
            sums.append(tf.reduce_sum(tf.reshape(inner, (count, -1)), axis=1))
        return tf.concat(sums, axis=0)

    def _groups(self, flat: tf.Tensor) -> Iterable[tuple[int, tuple[int, ...], tf.Tensor]]:
        """Yield (count, shape, values [count, entries]) of each group of adjacent variables of one shape."""
        start = 0
        for shape, members in itertools.groupby(self._order, key=lambda i: self.shapes[i]):
            count, entries = len(list(members)), math.prod(shape)
            stop = start + count * entries
            yield count, shape, tf.reshape(flat[start:stop], (count, entries))
            start = stop
