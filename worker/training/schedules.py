"""Learning rates of a run, step by step, by Keras's own schedules."""

from collections.abc import Callable
from functools import lru_cache

import keras
import numpy as np
import numpy.typing as npt
import tensorflow as tf

from service.contract.training_spec import PiecewiseConstantDecay, ScheduleSpec

BLOCK_STEPS = 2048  # learning rates are computed for a block of steps at once

Float64s = npt.NDArray[np.float64]


class Schedule:
    """The learning rate of each step, by `keras/src/optimizers/schedules/learning_rate_schedule.py`.

    Args:
        spec: The schedule; None keeps the learning rate constant.
        learning_rate: The constant, or the initial learning rate of the schedule.
    """

    def __init__(self, spec: ScheduleSpec | None, learning_rate: float) -> None:
        self._constant = learning_rate
        self._compute = None if spec is None else _computation(spec, learning_rate)
        self._block_start = -1
        self._block: Float64s = np.zeros(0)

    def rates(self, start: int, count: int) -> Float64s:
        """Return the learning rates of `count` steps from step `start` on, counted from 0, as float64 [count].

        A schedule's rates are float32 values, as Keras computes them. They do not depend on how calls divide the steps.
        """
        if self._compute is None:
            return np.full(count, self._constant)
        offset = start % BLOCK_STEPS
        parts = [self._block_from(first) for first in range(start - offset, start + count, BLOCK_STEPS)]
        return np.concatenate([*parts, np.zeros(0)])[offset : offset + count]

    def _block_from(self, first: int) -> Float64s:
        """Return the rates of one block, and keep it: a run of short epochs requests a few steps at a time."""
        if self._compute is not None and first != self._block_start:
            self._block_start, self._block = first, self._compute(first)
        return self._block


@lru_cache(maxsize=32)  # the runs of a study share schedules, and each schedule takes a trace
def _computation(spec: ScheduleSpec, learning_rate: float) -> Callable[[int], Float64s]:
    """Return a function from the first step of a block to the rates of the block [BLOCK_STEPS]."""
    if isinstance(spec, PiecewiseConstantDecay):
        return _piecewise(spec)
    schedule = getattr(keras.optimizers.schedules, spec.name)(learning_rate, **spec.model_dump(exclude={"name"}))
    traced = _traced(schedule)
    return lambda first: np.asarray(traced(tf.constant(first, tf.int64)), np.float64)


def _piecewise(spec: PiecewiseConstantDecay) -> Callable[[int], Float64s]:
    """Look rates up; Keras computes six operations per boundary, which takes seconds per block for a thousand."""
    with np.errstate(over="ignore"):
        values = np.array(spec.values).astype(np.float32).astype(np.float64)

    def rates(first: int) -> Float64s:
        return values[np.searchsorted(spec.boundaries, np.arange(first, first + BLOCK_STEPS))]

    return rates


def _traced(schedule: keras.optimizers.schedules.LearningRateSchedule) -> tf.types.experimental.PolymorphicFunction:
    def rates(first: tf.Tensor) -> tf.Tensor:
        # One step at a time, as `fit` calls it: powers and cosines of a vector differ in their last bits.
        steps = first + tf.range(BLOCK_STEPS, dtype=tf.int64)
        return tf.map_fn(schedule, steps, fn_output_signature=tf.float32)

    return tf.function(rates, autograph=False, input_signature=[tf.TensorSpec([], tf.int64)])
