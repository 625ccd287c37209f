"""Keras's gradient clipping on one flat vector."""

import numpy as np
import tensorflow as tf

from service.contract.training_spec import GradientClipping
from worker.training.flat_layout import FlatLayout


def clipped_gradient(
    gradient: tf.Tensor, norms: tf.Tensor | None, layout: FlatLayout, spec: GradientClipping, threshold: tf.Tensor
) -> tf.Tensor:
    """Clip a gradient as `clipvalue`, `clipnorm` and `global_clipnorm` of `keras/src/optimizers/base_optimizer.py` do.

    By value, each entry is clipped; by norm, each variable; by global norm, the whole gradient (Pascanu, Mikolov and
    Bengio 2013, algorithm 1).

    Args:
        gradient: [parameters], float32 or float64.
        norms: [variables], as `FlatLayout.norms` returns them; not read when clipping by value.
        layout: Where each variable lies in the gradient.
        spec: What to clip by; its threshold is not read.
        threshold: float64 [].

    Returns:
        [parameters]. By global norm, a gradient with an entry that is not finite becomes NaN everywhere.
    """
    # A float64 threshold can become 0 or infinite in float32, and both would turn a zero gradient into NaN.
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
    """Combine the norms of all variables; NaN if the result is not finite, because such a gradient has no direction."""
    largest = tf.reduce_max(norms)
    unit = tf.where(largest > 0, largest, tf.ones_like(largest))
    norm = unit * tf.sqrt(tf.reduce_sum(tf.square(norms / unit)))
    return norm + (norm - norm)
