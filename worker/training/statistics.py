"""The recorded statistics of a step, from tensors that the training step computes anyway (docs/statistics.md)."""

from collections.abc import Sequence
from dataclasses import dataclass

import tensorflow as tf

from service.contract.plan import Plan
from service.contract.recording_spec import Statistic
from worker.training.activation_taps import ObservedActivation, taps_of
from worker.training.flat_layout import FlatLayout

# An activation φ is saturated where |φ'| is below 1 % of its maximum. The conditions are on the output y:
# sigmoid' = y (1 − y) ≤ 1/4, tanh' = 1 − y², softsign' = (1 − |y|)²; the hard versions are flat at both ends.
SATURATED = {
    "sigmoid": lambda y: y * (1 - y) < 0.0025,
    "tanh": lambda y: 1 - tf.square(y) < 0.01,
    "softsign": lambda y: tf.square(1 - tf.abs(y)) < 0.01,
    "hard_sigmoid": lambda y: (y <= 0) | (y >= 1),
    "hard_tanh": lambda y: tf.abs(y) >= 1,
    "relu6": lambda y: (y <= 0) | (y >= 6),
}
# Bounds of the input beyond which other tools call an activation saturated (rule packs in docs/statistics.md).
SAGEMAKER_BOUNDS = {"sigmoid": (-23.0, 17.0), "tanh": (-9.5, 9.5)}
DEEPDIAGNOSIS_BOUNDS = {"sigmoid": (-5.0, 5.0), "tanh": (-5.0, 5.0)}


@dataclass(frozen=True)
class StepValues:
    """What one training step has computed, in the precision of the plan; vectors are [parameters]."""

    number: tf.Tensor  # of the step, counted from 0, float64 []
    weights: tf.Tensor  # before the update
    gradient: tf.Tensor  # before clipping
    gradient_norms: tf.Tensor  # [variables], of `gradient`
    clipped: tf.Tensor  # the gradient after clipping
    change: tf.Tensor  # what the update adds to the weights
    activations: Sequence[ObservedActivation]  # from input to output
    last_active: tf.Tensor  # float64 [hidden units], the last step at which a unit was not 0 for all samples


class Statistics:
    """The recorded statistics of a plan, as one vector [columns] per step.

    The columns of a statistic are one per variable or one per hidden activation, from input to output.

    Args:
        plan: Names the statistics and the hidden activations.
        layout: Where each trainable variable lies in a vector [parameters].

    Attributes:
        names: The statistics, in the order of their columns.
        tracks_units: Whether the last activity of each hidden unit is tracked.
    """

    def __init__(self, plan: Plan, layout: FlatLayout) -> None:
        self.names = plan.recorded
        self._layout = layout
        self._taps = taps_of(plan)
        self._window = float(plan.work.steps_per_epoch)
        self._units = [v.shape[-1] for v in plan.activations]
        self.tracks_units = Statistic.INACTIVE_UNITS in self.names

    @property
    def hidden_units(self) -> int:
        """Number of units whose last activity is tracked."""
        return sum(self._units) if self.tracks_units else 0

    def columns(self, statistic: Statistic) -> int:
        """Return how many values a statistic has per step."""
        return len(self._taps) if statistic.of_activations else len(self._layout.shapes)

    def activity(
        self, number: tf.Tensor, activations: Sequence[ObservedActivation], last_active: tf.Tensor
    ) -> tf.Tensor:
        """Update the last active step of each hidden unit.

        Args:
            number: Number of this step, counted from 0, float64 [].
            activations: The hidden activations of this step.
            last_active: [hidden units] before this step.

        Returns:
            [hidden units] after this step.
        """
        if not self.tracks_units:
            return last_active
        active = tf.concat([~_dead(observed.after) for observed in activations], axis=0)
        return tf.where(active, tf.cast(number, last_active.dtype), last_active)

    def measure(self, step: StepValues) -> tf.Tensor:
        """Compute all statistics of one step as [columns], in the precision of the plan.

        A value is NaN if the statistic is not defined for the activation.
        """
        dtype = step.gradient.dtype
        parts = []
        for name in self.names:
            if name.of_activations:
                parts.append(tf.stack([self._per_activation(name, i, step) for i in range(len(self._taps))]))
            else:
                parts.append(self._per_variable(name, step))
        return tf.concat([tf.cast(part, dtype) for part in parts], axis=0)

    # ---------------------------------------------------------------- per variable

    def _per_variable(self, name: Statistic, step: StepValues) -> tf.Tensor:
        layout, gradient, dtype = self._layout, step.gradient, step.gradient.dtype
        match name:
            case Statistic.GRADIENT_NORM:
                return step.gradient_norms
            case Statistic.CLIPPED_NORM:
                return layout.norms(step.clipped)
            case Statistic.UPDATE_RATIO:
                return layout.norms(step.change) / layout.norms(step.weights)
            case Statistic.WEIGHT_NORM:
                return layout.norms(step.weights)
            case Statistic.ZERO_FRACTION:
                return layout.means(tf.cast(gradient == 0, dtype))
            case Statistic.NONFINITE_COUNT:
                return layout.sums(tf.cast(~tf.math.is_finite(gradient), dtype))
            case Statistic.MEAN_ABS_GRADIENT:
                return layout.means(tf.abs(gradient))
            case Statistic.WEIGHT_VARIANCE:
                return layout.variances(step.weights)
        raise AssertionError(name)

    # ---------------------------------------------------------------- per activation

    def _per_activation(self, name: Statistic, i: int, step: StepValues) -> tf.Tensor:
        """Compute one value [] of hidden activation number `i`."""
        before, after = step.activations[i]
        activation = self._taps[i].node.activation or ""
        match name:
            case Statistic.ACTIVATION_MEAN:
                return tf.reduce_mean(after)
            case Statistic.ACTIVATION_STD:
                return tf.math.reduce_std(after)
            case Statistic.SATURATED_FRACTION:
                return _fraction(SATURATED[activation](after)) if activation in SATURATED else _undefined(after)
            case Statistic.DEAD_FRACTION:
                return _fraction(_dead(after))
            case Statistic.FRACTION_BEYOND_SAGEMAKER:
                return _beyond(before, after, SAGEMAKER_BOUNDS.get(activation))
            case Statistic.FRACTION_BEYOND_DEEPDIAGNOSIS:
                return _beyond(before, after, DEEPDIAGNOSIS_BOUNDS.get(activation))
            case Statistic.FRACTION_NOT_POSITIVE:
                return _fraction(after <= 0)
            case Statistic.INACTIVE_UNITS:
                start = sum(self._units[:i])
                last = step.last_active[start : start + self._units[i]]
                since = tf.maximum(tf.cast(step.number, last.dtype) - self._window + 1, 0)
                return _fraction(last < since)
        raise AssertionError(name)


def _dead(after: tf.Tensor) -> tf.Tensor:
    """Whether each unit [units] is 0 for every sample of the batch and at every position."""
    return tf.reduce_all(after == 0, axis=list(range(after.shape.rank - 1)))


def _fraction(condition: tf.Tensor) -> tf.Tensor:
    return tf.reduce_mean(tf.cast(condition, tf.float32))


def _undefined(like: tf.Tensor) -> tf.Tensor:
    return tf.constant(float("nan"), like.dtype)


def _beyond(before: tf.Tensor | None, after: tf.Tensor, bounds: tuple[float, float] | None) -> tf.Tensor:
    if bounds is None or before is None:
        return _undefined(after)
    return _fraction((before < bounds[0]) | (before > bounds[1]))
