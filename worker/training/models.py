"""A plan's network -> keras.Model, by calling constructors."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import keras
import numpy as np

from service.contract.network import reshaping
from service.contract.network.graph import INPUT, Node
from service.contract.network.initializers import (
    Constant,
    Fixed,
    Identity,
    Initializer,
    Normal,
    Orthogonal,
    Scaled,
    TruncatedNormal,
    Uniform,
    VarianceScaling,
)
from service.contract.plan import Plan
from worker.training.seeds import LARGEST, Stream, generator

SEED_STATE = "seed_generator_state"  # Keras's name for the state of a noise layer's random numbers

BY_NAME = {
    "zeros": keras.initializers.Zeros,
    "ones": keras.initializers.Ones,
    "glorot_uniform": keras.initializers.GlorotUniform,
    "glorot_normal": keras.initializers.GlorotNormal,
    "he_uniform": keras.initializers.HeUniform,
    "he_normal": keras.initializers.HeNormal,
    "lecun_uniform": keras.initializers.LecunUniform,
    "lecun_normal": keras.initializers.LecunNormal,
}
BY_KIND = {
    Constant: keras.initializers.Constant,
    Identity: keras.initializers.Identity,
    VarianceScaling: keras.initializers.VarianceScaling,
    Normal: keras.initializers.RandomNormal,
    TruncatedNormal: keras.initializers.TruncatedNormal,
    Uniform: keras.initializers.RandomUniform,
    Orthogonal: keras.initializers.Orthogonal,
}


Draw = Callable[[Initializer], keras.initializers.Initializer]


@dataclass(frozen=True)
class Tap:
    """Where a hidden activation is seen: names of the layers that hold it."""

    node: Node
    before: bool  # whether what the activation is applied to is seen as well


def taps(plan: Plan) -> tuple[Tap, ...]:
    """What a tapped model of this plan shows, in the order of its further outputs."""
    return tuple(Tap(node, not node.is_recurrent) for node in plan.network.hidden_activations)


def build(plan: Plan) -> keras.Model:
    """The network with its initial weights, each layer's drawn from the seed's weight stream.

    Layers are named as the plan's variables name them.
    """
    weights = Weights(plan)
    dtype = plan.spec.training.precision
    tensors = {INPUT: keras.Input(plan.shape.input_shape, dtype=dtype, name=".input")}
    nodes = [node for node in plan.network.nodes if node.name in plan.network.reached]
    with _recursion_for(len(nodes)):
        for node in nodes:
            inputs = [tensors[name] for name in node.inputs]
            layer = layer_of(node, dtype, weights)
            tensors[node.name] = layer(inputs if isinstance(node.layer, reshaping.MERGES) else inputs[0])
        return keras.Model(tensors[INPUT], tensors[plan.network.output])


def layer_of(node: Node, dtype: str, weights: Draw, activation: str | None = None) -> keras.layers.Layer:
    """The Keras layer of a node, whose initializers are what `weights` makes of its own."""
    told = node.layer.arguments()
    told |= {name: weights(value) for name, value in told.items() if name.endswith("_initializer")}
    if activation is not None:
        told["activation"] = activation
    if told.get("seed", 0) is None:
        told["seed"] = 0  # never drawn from: the training step says every state
    trains = told.pop("trainable")  # not every constructor takes it
    layer = getattr(keras.layers, type(node.layer).__name__)(**told, name=node.name, dtype=dtype)
    layer.trainable = trains
    return layer


class Weights:
    """Initializers with their seeds: one number of the weight stream for each that draws any, from input to output."""

    def __init__(self, plan: Plan) -> None:
        self._random: np.random.Generator = generator(plan.spec.training.seed, Stream.WEIGHTS)

    def __call__(self, told: Initializer) -> keras.initializers.Initializer:
        """The initializer with the seed that is its own, or the next of the stream."""
        if isinstance(told, Fixed):
            return BY_NAME[told.name]()
        parameters = told.model_dump(exclude={"name", "seed"})
        if hasattr(told, "seed"):
            drawn = int(self._random.integers(0, LARGEST))
            parameters["seed"] = drawn if told.seed is None else told.seed
        return (BY_NAME[told.name] if isinstance(told, Scaled) else BY_KIND[type(told)])(**parameters)


@contextmanager
def _recursion_for(layers: int) -> Iterator[None]:
    """Keras walks a network's graph by recursion, a few frames a layer; Python stops at a thousand frames."""
    before = sys.getrecursionlimit()
    sys.setrecursionlimit(before + 10 * layers)
    try:
        yield
    finally:
        sys.setrecursionlimit(before)
