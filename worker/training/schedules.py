"""Learning rates of a run, step by step, by Keras's own schedules."""

import keras
import numpy as np
import numpy.typing as npt
import tensorflow as tf

from service.contract.training_spec import PiecewiseConstantDecay, ScheduleSpec

MOST_AT_ONCE = 2048


class Schedule:
    """The learning rate of each step; without a spec always the same."""

    def __init__(self, spec: ScheduleSpec | None, learning_rate: float) -> None:
        self._constant = learning_rate
        self._rates = None if spec is None else _traced(_keras_schedule(spec, learning_rate))

    def rates(self, start: int, count: int) -> npt.NDArray[np.float64]:
        """Rates of `count` updates from number `start` on, counted from 0."""
        if self._rates is None:
            return np.full(count, self._constant)
        parts = [
            np.asarray(self._rates(tf.constant(first, tf.int64)), np.float64)
            for first in range(start, start + count, MOST_AT_ONCE)
        ]
        return np.concatenate([*parts, np.zeros(0)])[:count]


def _keras_schedule(spec: ScheduleSpec, rate: float) -> keras.optimizers.schedules.LearningRateSchedule:
    parameters = spec.model_dump(exclude={"name"})
    if isinstance(spec, PiecewiseConstantDecay):
        return keras.optimizers.schedules.PiecewiseConstantDecay(list(spec.boundaries), list(spec.values))
    return getattr(keras.optimizers.schedules, spec.name)(rate, **parameters)


def _traced(schedule: keras.optimizers.schedules.LearningRateSchedule) -> tf.types.experimental.PolymorphicFunction:
    def rates(first: tf.Tensor) -> tf.Tensor:
        steps = first + tf.range(MOST_AT_ONCE, dtype=tf.int64)
        return tf.map_fn(schedule, steps, fn_output_signature=tf.float32)

    return tf.function(rates, autograph=False, input_signature=[tf.TensorSpec([], tf.int64)])
