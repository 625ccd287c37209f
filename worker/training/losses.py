"""Losses and metrics per sample, by Keras's own functions; and the derivative of the loss by the logits."""

import keras
import numpy as np
import numpy.typing as npt
import tensorflow as tf

from service.contract.objective import Objective

REGRESSION = {
    "mse": keras.losses.mean_squared_error,
    "mae": keras.losses.mean_absolute_error,
    "huber": keras.losses.huber,
}


def sample_losses(objective: Objective, labels: tf.Tensor, outputs: tf.Tensor) -> tf.Tensor:
    """Compute the loss of each sample, with the functions of `keras/src/losses/losses.py`.

    Args:
        objective: Names the loss. After a sigmoid or softmax, Keras computes it from the logits that it has attached to
            the output tensor.
        labels: Class indices [samples, …], int32; or regression targets [samples, …] in the outputs' dtype.
        outputs: [samples, …, units], float32 or float64.

    Returns:
        [samples]; for sequences of labels, the mean over the sequence.
    """
    if objective.loss == "categorical_crossentropy":
        losses = keras.losses.sparse_categorical_crossentropy(labels, outputs, from_logits=objective.from_logits)
    else:
        targets = _targets(objective, labels, outputs)
        if objective.loss == "binary_crossentropy":
            losses = keras.losses.binary_crossentropy(targets, outputs, from_logits=objective.from_logits)
        else:
            losses = REGRESSION[objective.loss](targets, outputs)
    return _mean_per_sample(losses)


def sample_metrics(objective: Objective, labels: tf.Tensor, outputs: tf.Tensor) -> tf.Tensor:
    """Compute the metrics of each sample: accuracy of classes, or regression errors.

    Args:
        objective: Names the metrics.
        labels: As `sample_losses` takes them.
        outputs: As `sample_losses` takes them.

    Returns:
        [samples, metrics] in the order of `objective.metrics`.
    """
    if objective.classes is None:
        columns = [_mean_per_sample(REGRESSION[name](labels, outputs)) for name in objective.metrics]
        return tf.stack(columns, axis=-1)
    if objective.output_units == 1:
        predicted = tf.cast(outputs[..., 0] > (0.0 if objective.from_logits else 0.5), labels.dtype)
    else:
        predicted = tf.argmax(outputs, axis=-1, output_type=labels.dtype)
    return _mean_per_sample(tf.cast(predicted == labels, outputs.dtype))[:, None]


def output_errors(
    objective: Objective, labels: npt.NDArray[np.generic], outputs: npt.NDArray[np.floating]
) -> npt.NDArray[np.floating]:
    """Compute ∂loss/∂logits of each sample, where loss is the loss of that sample alone.

    It is the number of samples times the derivative of their mean loss. After a sigmoid or softmax with cross-entropy
    it is the output minus the one-hot label. In regression, the logits are the outputs themselves.

    Args:
        objective: Names the loss.
        labels: Class indices [samples], or regression targets [samples, units].
        outputs: [samples, units].

    Returns:
        [samples, units] in the outputs' dtype.
    """
    if objective.classes is None:
        difference = outputs - labels.reshape(outputs.shape).astype(outputs.dtype)
        slopes = {"mse": 2 * difference, "mae": np.sign(difference), "huber": np.clip(difference, -1, 1)}
        errors: npt.NDArray[np.floating] = slopes[objective.loss] / outputs.shape[1]  # the loss is a mean over units
        return errors
    if objective.output_units == 1:
        return outputs - labels.reshape(outputs.shape).astype(outputs.dtype)
    return outputs - np.eye(objective.output_units, dtype=outputs.dtype)[labels.astype(np.int64)]


def _targets(objective: Objective, labels: tf.Tensor, outputs: tf.Tensor) -> tf.Tensor:
    if objective.classes is None:
        return labels
    if objective.output_units == 1:
        return tf.cast(labels[..., None], outputs.dtype)
    return tf.one_hot(labels, objective.output_units, dtype=outputs.dtype)


def _mean_per_sample(values: tf.Tensor) -> tf.Tensor:
    """Average over all dimensions but the first."""
    rank = values.shape.rank
    return tf.reduce_mean(values, axis=list(range(1, rank))) if rank > 1 else values
