"""Learning rates of a run, step by step, by Keras's own schedules."""

from collections.abc import Callable
from functools import lru_cache

import keras
import numpy as np
import numpy.typing as npt
import tensorflow as tf

from service.contract.training_spec import PiecewiseConstantDecay, ScheduleSpec

MOST_AT_ONCE = 2048

Float64s = npt.NDArray[np.float64]


class Schedule:
    """The learning rate of each step; without a spec always the same."""

    def __init__(self, spec: ScheduleSpec | None, learning_rate: float) -> None:
        self._constant = learning_rate
        self._compute = None if spec is None else _computation(spec, learning_rate)
        self._first = -1  # step that the kept block begins with
        self._block: Float64s = np.zeros(0)

    def rates(self, start: int, count: int) -> Float64s:
        """Rates of `count` updates from number `start` on, counted from 0."""
        if self._compute is None:
            return np.full(count, self._constant)
        into = start % MOST_AT_ONCE
        parts = [self._block_from(first) for first in range(start - into, start + count, MOST_AT_ONCE)]
        return np.concatenate([*parts, np.zeros(0)])[into : into + count]

    def _block_from(self, first: int) -> Float64s:
        """Rates of a block of steps; the last one is kept: a run of short epochs asks for a few at a time."""
        if self._compute is not None and first != self._first:
            self._first, self._block = first, self._compute(first)
        return self._block


@lru_cache(maxsize=32)  # the runs of a study share schedules, and each takes a trace
def _computation(spec: ScheduleSpec, rate: float) -> Callable[[int], Float64s]:
    """From the first step of a block to its rates."""
    if isinstance(spec, PiecewiseConstantDecay):
        return _piecewise(spec)
    schedule = getattr(keras.optimizers.schedules, spec.name)(rate, **spec.model_dump(exclude={"name"}))
    traced = _traced(schedule)
    return lambda first: np.asarray(traced(tf.constant(first, tf.int64)), np.float64)


def _piecewise(spec: PiecewiseConstantDecay) -> Callable[[int], Float64s]:
    """A look-up: Keras computes six operations a boundary, which for a thousand of them takes seconds a block."""
    with np.errstate(over="ignore"):
        values = np.array(spec.values).astype(np.float32).astype(np.float64)

    def rates(first: int) -> Float64s:
        return values[np.searchsorted(spec.boundaries, np.arange(first, first + MOST_AT_ONCE))]

    return rates


def _traced(schedule: keras.optimizers.schedules.LearningRateSchedule) -> tf.types.experimental.PolymorphicFunction:
    def rates(first: tf.Tensor) -> tf.Tensor:
        # One step at a time, as `fit` calls it: powers and cosines of a vector differ in their last bits.
        steps = first + tf.range(MOST_AT_ONCE, dtype=tf.int64)
        return tf.map_fn(schedule, steps, fn_output_signature=tf.float32)

    return tf.function(rates, autograph=False, input_signature=[tf.TensorSpec([], tf.int64)])
