"""Gradient norms recorded by callbacks of `model.fit`, which compute the gradients a second time.

Keras passes no gradients to its callbacks. Both callbacks here are faster than those in common use: one compiled
function computes the norms of all variables, and nothing is sent or drawn.
"""

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from service.contract.plan import Plan
from worker.training.data import Data, load
from worker.training.keras_model import build_model
from worker.training.keras_session import KerasSession


def compiled(planned: Plan) -> tuple[keras.Model, Data]:
    """The Keras model of a plan, compiled with Keras's defaults, and its data."""
    model = build_model(planned, KerasSession())
    model.compile("adam", "binary_crossentropy", metrics=["accuracy"])
    return model, load(planned)


def each_epoch(model: keras.Model, data: Data, batch_size: int) -> keras.callbacks.Callback:
    """A callback that makes a second pass over the data after each epoch, for the norms of the summed gradients.

    `WandbCallback(log_gradients=True)` of Weights & Biases (wandb/integration/keras/keras.py) does the same; it fits a
    second model with an optimizer that stores gradients.
    """
    gradients = _gradients(model)
    log: list[Any] = []

    def second_pass(_epoch: int, _logs: object) -> None:
        sums: list[Any] = [0.0] * len(model.trainable_variables)
        for start in range(0, len(data.x_train), batch_size):
            samples = slice(start, start + batch_size)
            batch = gradients(data.x_train[samples], data.y_train[samples])
            sums = [total + gradient for total, gradient in zip(sums, batch, strict=True)]
        log.append([np.linalg.norm(total) for total in sums])

    return keras.callbacks.LambdaCallback(on_epoch_end=second_pass)


def each_batch(model: keras.Model, data: Data, batch_size: int) -> keras.callbacks.Callback:
    """A callback that computes the gradient norms before each batch; the epoch must not be shuffled."""
    gradients = _gradients(model)
    norms = tf.function(lambda x, y: tf.stack([tf.norm(gradient) for gradient in gradients(x, y)]), autograph=False)
    log: list[Any] = []

    def same_batch(batch: int, logs: object = None) -> None:
        del logs
        samples = slice(batch * batch_size, (batch + 1) * batch_size)
        log.append(norms(data.x_train[samples], data.y_train[samples]).numpy())

    return keras.callbacks.LambdaCallback(on_train_batch_begin=same_batch)


def _gradients(model: keras.Model) -> Callable[[Any, Any], list[Any]]:
    def gradients(x: Any, y: Any) -> Any:
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(keras.losses.binary_crossentropy(y[:, None], model(x, training=True)))
        return tape.gradient(loss, model.trainable_variables)

    found: Callable[[Any, Any], list[Any]] = tf.function(gradients, autograph=False, reduce_retracing=True)
    return found
