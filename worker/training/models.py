"""Model spec -> keras.Model."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager

import keras

from service.contract.spec import Improved, ModelSpec
from service.contract.workload import DataShape
from worker.training.seeds import Stream, generator


def build(model: ModelSpec, shape: DataShape, seed: int, dtype: str = "float32") -> keras.Model:
    """The network with its initial weights: Keras's defaults, each layer's drawn from the seed's weight stream.

    Layers are named as `service.contract.workload.trainable_variables` names them.
    """
    seeds = generator(seed, Stream.WEIGHTS).integers(0, 2**31 - 1, size=model.depth + 1)

    def dense(units: int, activation: str, depth: int, name: str) -> keras.layers.Layer:
        initializer = keras.initializers.GlorotUniform(seed=int(seeds[depth]))
        return keras.layers.Dense(units, activation=activation, kernel_initializer=initializer, dtype=dtype, name=name)

    layers = [keras.Input((shape.features,), dtype=dtype)]
    for depth in range(model.depth):
        if isinstance(model, Improved):
            layers.append(dense(model.width, "relu", depth, f"dense_{depth}"))
            layers.append(keras.layers.BatchNormalization(dtype=dtype, name=f"batch_normalization_{depth}"))
        else:
            layers.append(dense(model.width, "sigmoid", depth, f"dense_{depth}"))
    last = "sigmoid" if shape.output_units == 1 else "softmax"
    layers.append(dense(shape.output_units, last, model.depth, "output"))
    with _recursion_for(len(layers)):
        return keras.Sequential(layers)


@contextmanager
def _recursion_for(layers: int) -> Iterator[None]:
    """Keras walks a network's graph by recursion, a few frames a layer; Python stops at a thousand frames."""
    before = sys.getrecursionlimit()
    sys.setrecursionlimit(before + 10 * layers)
    try:
        yield
    finally:
        sys.setrecursionlimit(before)
