"""An objective's loss and metrics, row by row, by Keras's own functions; and what the loss asks of the output."""

import keras
import numpy as np
import numpy.typing as npt
import tensorflow as tf

from service.contract.objective import Objective

OF_NUMBERS = {
    "mse": keras.losses.mean_squared_error,
    "mae": keras.losses.mean_absolute_error,
    "huber": keras.losses.huber,
}


def row_losses(objective: Objective, labels: tf.Tensor, outputs: tf.Tensor) -> tf.Tensor:
    """Loss of each row [rows]; behind a sigmoid or softmax Keras reads the logits.

    Labels are class numbers [rows, …] or targets [rows, …]; of a sequence of labels, the mean along it.
    """
    if objective.loss == "categorical_crossentropy":
        losses = keras.losses.sparse_categorical_crossentropy(labels, outputs, from_logits=objective.from_logits)
    else:
        targets = _targets(objective, labels, outputs)
        if objective.loss == "binary_crossentropy":
            losses = keras.losses.binary_crossentropy(targets, outputs, from_logits=objective.from_logits)
        else:
            losses = OF_NUMBERS[objective.loss](targets, outputs)
    return _a_row(losses)


def row_metrics(objective: Objective, labels: tf.Tensor, outputs: tf.Tensor) -> tf.Tensor:
    """`objective.metrics` of each row [rows, metrics]."""
    if objective.classes is None:
        columns = [_a_row(OF_NUMBERS[name](labels, outputs)) for name in objective.metrics]
        return tf.stack(columns, axis=-1)
    if objective.output_units == 1:
        predicted = tf.cast(outputs[..., 0] > (0.0 if objective.from_logits else 0.5), labels.dtype)
    else:
        predicted = tf.argmax(outputs, axis=-1, output_type=labels.dtype)
    return _a_row(tf.cast(predicted == labels, outputs.dtype))[:, None]


def output_errors(
    objective: Objective, labels: npt.NDArray[np.generic], outputs: npt.NDArray[np.floating]
) -> npt.NDArray[np.floating]:
    """∂loss/∂logits of each row [rows, units] by the outputs [rows, units]: rows times that of their mean loss.

    The logits of numbers are the outputs themselves; labels are class numbers [rows] or targets [rows, units].
    """
    if objective.classes is None:
        difference = outputs - labels.reshape(outputs.shape).astype(outputs.dtype)
        slopes = {"mse": 2 * difference, "mae": np.sign(difference), "huber": np.clip(difference, -1, 1)}
        found: npt.NDArray[np.floating] = slopes[objective.loss] / outputs.shape[1]  # the mean over the units
        return found
    if objective.output_units == 1:
        return outputs - labels.reshape(outputs.shape).astype(outputs.dtype)
    return outputs - np.eye(objective.output_units, dtype=outputs.dtype)[labels.astype(np.int64)]


def _targets(objective: Objective, labels: tf.Tensor, outputs: tf.Tensor) -> tf.Tensor:
    if objective.classes is None:
        return labels
    if objective.output_units == 1:
        return tf.cast(labels[..., None], outputs.dtype)
    return tf.one_hot(labels, objective.output_units, dtype=outputs.dtype)


def _a_row(values: tf.Tensor) -> tf.Tensor:
    """Mean over all but the first dimension."""
    rank = values.shape.rank
    return tf.reduce_mean(values, axis=list(range(1, rank))) if rank > 1 else values
