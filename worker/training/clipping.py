"""Keras's gradient clipping on one flat vector."""

import numpy as np
import tensorflow as tf

from service.contract.training_spec import GradientClipping
from worker.training.layout import FlatLayout


def clipped(
    gradient: tf.Tensor, norms: tf.Tensor, layout: FlatLayout, spec: GradientClipping, threshold: tf.Tensor
) -> tf.Tensor:
    """A flat gradient [parameters] after clipping; `norms` [variables] are those of `FlatLayout.norms`.

    By value each entry, by norm each variable by itself, by global norm all together (Pascanu, Mikolov and Bengio
    2013, algorithm 1), as `clipvalue`, `clipnorm` and `global_clipnorm` of Keras's optimizers do.
    """
    # A float64 threshold may be 0 or infinite in float32, and both make NaN of what is not to be clipped.
    threshold = tf.cast(tf.clip_by_value(threshold, *_normal_range(gradient.dtype)), gradient.dtype)
    if spec.by == "value":
        return tf.clip_by_value(gradient, -threshold, threshold)
    if spec.by == "norm":
        return gradient * layout.spread(threshold / tf.maximum(norms, threshold))
    return gradient * (threshold / tf.maximum(_global_norm(norms), threshold))


def _normal_range(dtype: tf.DType) -> tuple[float, float]:
    limits = np.finfo(dtype.as_numpy_dtype)
    return float(limits.tiny), float(limits.max)


def _global_norm(norms: tf.Tensor) -> tf.Tensor:
    """Norm of all variables together, NaN where it is not finite: an infinite gradient has no direction."""
    largest = tf.reduce_max(norms)
    unit = tf.where(largest > 0, largest, tf.ones_like(largest))
    norm = unit * tf.sqrt(tf.reduce_sum(tf.square(norms / unit)))
    return norm + (norm - norm)
