"""What is recorded of a step beside its loss: each statistic's values, from tensors that the step has anyway."""

from collections.abc import Sequence
from dataclasses import dataclass

import tensorflow as tf

from service.contract.plan import Plan
from service.contract.recording_spec import Statistic
from worker.training.blocks import Seen
from worker.training.layout import FlatLayout
from worker.training.models import taps

# |φ'| below 1 % of its maximum, as a condition on the output y: sigmoid' = y (1 − y) ≤ 1/4, tanh' = 1 − y²,
# softsign' = (1 − |y|)², hard versions are flat at both ends.
SATURATED = {
    "sigmoid": lambda y: y * (1 - y) < 0.0025,
    "tanh": lambda y: 1 - tf.square(y) < 0.01,
    "softsign": lambda y: tf.square(1 - tf.abs(y)) < 0.01,
    "hard_sigmoid": lambda y: (y <= 0) | (y >= 1),
    "hard_tanh": lambda y: tf.abs(y) >= 1,
    "relu6": lambda y: (y <= 0) | (y >= 6),
}
# Inputs beyond which a peer calls an activation saturated (rule packs of docs/statistics.md).
SAGEMAKER_BOUNDS = {"sigmoid": (-23.0, 17.0), "tanh": (-9.5, 9.5)}
DEEPDIAGNOSIS_BOUNDS = {"sigmoid": (-5.0, 5.0), "tanh": (-5.0, 5.0)}


@dataclass(frozen=True)
class Moment:
    """What a step has made, flat vectors [parameters] where not said otherwise."""

    number: tf.Tensor  # of the step, counted from 0, float64
    weights: tf.Tensor
    gradient: tf.Tensor
    gradient_norms: tf.Tensor  # [variables]
    clipped: tf.Tensor
    change: tf.Tensor
    activations: Sequence[Seen]
    last_active: tf.Tensor  # [hidden units], the last step at which each was not 0 for every row


class Statistics:
    """The statistics of a plan, side by side in one vector [columns], variables in the network's order."""

    def __init__(self, plan: Plan, layout: FlatLayout) -> None:
        self.names = plan.recorded
        self._layout = layout
        self._taps = taps(plan)
        self._window = float(plan.work.steps_per_epoch)
        self._units = [v.shape[-1] for v in plan.activations]
        self.tracks_units = Statistic.INACTIVE_UNITS in self.names

    @property
    def hidden_units(self) -> int:
        """Units whose last activity is kept."""
        return sum(self._units) if self.tracks_units else 0

    def columns(self, statistic: Statistic) -> int:
        """Values of a statistic at one step."""
        return len(self._taps) if statistic.of_activations else len(self._layout.shapes)

    def activity(self, number: tf.Tensor, activations: Sequence[Seen], last_active: tf.Tensor) -> tf.Tensor:
        """`last_active` after this step."""
        if not self.tracks_units:
            return last_active
        active = tf.concat([~_dead(seen.after) for seen in activations], axis=0)
        return tf.where(active, tf.cast(number, last_active.dtype), last_active)

    def measure(self, moment: Moment) -> tf.Tensor:
        """All values of one step [columns]."""
        dtype = moment.gradient.dtype
        parts = []
        for name in self.names:
            if name.of_activations:
                parts.append(tf.stack([self._of_activation(name, i, moment) for i in range(len(self._taps))]))
            else:
                parts.append(self._of_variables(name, moment))
        return tf.concat([tf.cast(part, dtype) for part in parts], axis=0)

    # ---------------------------------------------------------------- of variables

    def _of_variables(self, name: Statistic, moment: Moment) -> tf.Tensor:
        layout, gradient, dtype = self._layout, moment.gradient, moment.gradient.dtype
        match name:
            case Statistic.GRADIENT_NORM:
                return moment.gradient_norms
            case Statistic.CLIPPED_NORM:
                return layout.norms(moment.clipped)
            case Statistic.UPDATE_RATIO:
                return layout.norms(moment.change) / layout.norms(moment.weights)
            case Statistic.WEIGHT_NORM:
                return layout.norms(moment.weights)
            case Statistic.ZERO_FRACTION:
                return layout.means(tf.cast(gradient == 0, dtype))
            case Statistic.NONFINITE_COUNT:
                return layout.sums(tf.cast(~tf.math.is_finite(gradient), dtype))
            case Statistic.MEAN_ABS_GRADIENT:
                return layout.means(tf.abs(gradient))
            case Statistic.WEIGHT_VARIANCE:
                return layout.variances(moment.weights)
        raise AssertionError(name)

    # ---------------------------------------------------------------- of activations

    def _of_activation(self, name: Statistic, i: int, moment: Moment) -> tf.Tensor:
        """One value of hidden activation number i; NaN where the activation has no such thing."""
        before, after = moment.activations[i]
        activation = self._taps[i].node.activation or ""
        match name:
            case Statistic.ACTIVATION_MEAN:
                return tf.reduce_mean(after)
            case Statistic.ACTIVATION_STD:
                return tf.math.reduce_std(after)
            case Statistic.SATURATED_FRACTION:
                return _fraction(SATURATED[activation](after)) if activation in SATURATED else _nothing(after)
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
                last = moment.last_active[start : start + self._units[i]]
                since = tf.maximum(tf.cast(moment.number, last.dtype) - self._window + 1, 0)
                return _fraction(last < since)
        raise AssertionError(name)


def _dead(after: tf.Tensor) -> tf.Tensor:
    """Which units [units] are 0 for every row of the batch, and at every place."""
    return tf.reduce_all(after == 0, axis=list(range(after.shape.rank - 1)))


def _fraction(condition: tf.Tensor) -> tf.Tensor:
    return tf.reduce_mean(tf.cast(condition, tf.float32))


def _nothing(like: tf.Tensor) -> tf.Tensor:
    return tf.constant(float("nan"), like.dtype)


def _beyond(before: tf.Tensor | None, after: tf.Tensor, bounds: tuple[float, float] | None) -> tf.Tensor:
    if bounds is None or before is None:
        return _nothing(after)
    return _fraction((before < bounds[0]) | (before > bounds[1]))
