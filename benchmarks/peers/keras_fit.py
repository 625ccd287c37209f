"""Builds, compiles and fits a preset with Keras, without recording, with TensorFlow's default threads."""

import sys
from typing import Any

import keras
import numpy as np

from benchmarks.peers.turns import Json, serve, timed

SAMPLES, FEATURES = 1000, 20
EPOCHS, BATCH_SIZE, VALIDATION_SPLIT = 5, 32, 0.2  # gradflow's defaults


class Fits:
    """Successive calls of `model.fit` in one process."""

    def __init__(self) -> None:
        random = np.random.default_rng(0)
        self._x = random.random((SAMPLES, FEATURES), dtype=np.float32)
        self._y = random.integers(0, 2, SAMPLES)
        self._model: Any = None
        self._weights: Any = None

    def answer(self, request: Json) -> Json:
        """The time of `new` (build, compile and fit) or `again` (fit the last network from its initial weights)."""
        if "again" in request:
            return timed(self._again)
        self._model = None
        keras.backend.clear_session()  # earlier networks must not slow this one down
        took = timed(lambda: self._new(**request["new"]))
        self._weights = self._model.get_weights()
        return took

    def _new(self, kind: str, depth: int, width: int) -> None:
        layers: list[Any] = [keras.Input((FEATURES,))]
        for _ in range(depth):
            layers.append(keras.layers.Dense(width, "sigmoid" if kind == "baseline" else "relu"))
            if kind == "improved":
                layers.append(keras.layers.BatchNormalization())
        self._model = keras.Sequential([*layers, keras.layers.Dense(1, "sigmoid")])
        self._model.compile("adam", "binary_crossentropy", metrics=["accuracy"])
        self._fit()

    def _again(self) -> None:
        """Reset the weights and the optimizer, and fit without building, tracing or compiling again."""
        self._model.set_weights(self._weights)
        optimizer = self._model.optimizer
        for variable in optimizer.variables:
            if variable is not optimizer.learning_rate:
                variable.assign(np.zeros(variable.shape))
        self._fit()

    def _fit(self) -> None:
        self._model.fit(
            self._x,
            self._y,
            batch_size=BATCH_SIZE,
            epochs=EPOCHS,
            validation_split=VALIDATION_SPLIT,
            verbose=0,
        )


if __name__ == "__main__":
    fits = Fits()
    fits.answer({"new": {"kind": sys.argv[1], "depth": 2, "width": 8}})
    serve(fits.answer)
