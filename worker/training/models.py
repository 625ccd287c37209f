"""A plan's network -> keras.Model, by calling constructors."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

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


@dataclass(frozen=True)
class Tap:
    """Where a hidden activation is seen: names of the layers that hold it."""

    node: Node
    before: bool  # whether what the activation is applied to is seen as well


def taps(plan: Plan) -> tuple[Tap, ...]:
    """What a tapped model of this plan shows, in the order of its further outputs."""
    return tuple(Tap(node, not node.is_recurrent) for node in plan.network.hidden_activations)


def build(plan: Plan, *, tapped: bool = False) -> keras.Model:
    """The network with its initial weights, each layer's drawn from the seed's weight stream.

    Layers are named as the plan's variables name them. With `tapped` the model also gives, for each of `taps`, what the
    activation is applied to (where that can be seen) and what it makes of it; the weights are the same. What is added
    has a name with a dot in front, which no layer of a network has.
    """
    shown = {tap.node.name: tap for tap in taps(plan)} if tapped else {}
    dtype = plan.spec.training.precision
    weights = _Weights(plan)
    tensors = {INPUT: keras.Input(plan.shape.input_shape, dtype=dtype, name=".input")}
    further: list[Any] = []
    nodes = [node for node in plan.network.nodes if node.name in plan.network.reached]
    with _recursion_for(len(nodes)):
        for node in nodes:
            inputs = [tensors[name] for name in node.inputs]
            given = inputs if isinstance(node.layer, reshaping.MERGES) else inputs[0]
            tap = shown.get(node.name)
            apart = tap is not None and tap.before and len(node.layer.variables(*_shapes(inputs))) > 0
            apart = apart and hasattr(node.layer, "activation")
            layer = _layer(node, weights, dtype, activation="linear" if apart else None)
            before, after = given, layer(given)
            if apart:
                name = f".{node.name}.activation"
                before, after = after, keras.layers.Activation(node.activation, dtype=dtype, name=name)(after)
            if tap is not None:
                further += [before, after] if tap.before else [after]
            tensors[node.name] = after
        output = tensors[plan.network.output]
        return keras.Model(tensors[INPUT], [output, *further] if tapped else output)


def seed_states(plan: Plan, model: keras.Model) -> dict[int, int]:
    """Seed of each noise layer's random numbers, by the position of its state among the fixed variables."""
    drawn = generator(plan.spec.training.seed, Stream.NOISE)
    found: dict[int, int] = {}
    for node in plan.network.nodes:
        if node.name not in plan.network.reached:
            continue
        states = [v for v in model.get_layer(node.name).non_trainable_variables if v.name == SEED_STATE]
        for state in states:
            seed = int(drawn.integers(0, LARGEST))
            position = next(i for i, v in enumerate(model.non_trainable_variables) if v is state)
            found[position] = seed if getattr(node.layer, "seed", None) is None else node.layer.seed  # type: ignore[attr-defined]
    return found


def variable_order(plan: Plan, model: keras.Model) -> list[int]:
    """Position among the model's trainable variables of each variable of the plan that has a gradient."""
    positions = {id(v): i for i, v in enumerate(model.trainable_variables)}
    names = dict.fromkeys(v.layer for v in plan.variables if v.has_gradient)
    return [positions[id(v)] for name in names for v in model.get_layer(name).trainable_variables]


def _shapes(tensors: list[Any]) -> list[tuple[int, ...]]:
    return [tuple(tensor.shape[1:]) for tensor in tensors]


class _Weights:
    """Initialisers with their seeds: one number of the weight stream for each that draws any, from input to output."""

    def __init__(self, plan: Plan) -> None:
        self._random: np.random.Generator = generator(plan.spec.training.seed, Stream.WEIGHTS)

    def __call__(self, told: Initializer) -> keras.initializers.Initializer:
        if isinstance(told, Fixed):
            return BY_NAME[told.name]()
        parameters = told.model_dump(exclude={"name", "seed"})
        if hasattr(told, "seed"):
            drawn = int(self._random.integers(0, LARGEST))
            parameters["seed"] = drawn if told.seed is None else told.seed
        return (BY_NAME[told.name] if isinstance(told, Scaled) else BY_KIND[type(told)])(**parameters)


def _layer(node: Node, weights: _Weights, dtype: str, activation: str | None) -> keras.layers.Layer:
    told = node.layer.arguments()
    told |= {name: weights(value) for name, value in told.items() if name.endswith("_initializer")}
    if activation is not None:
        told["activation"] = activation
    if told.get("seed", 0) is None:
        told["seed"] = 0  # never drawn from: the training step says every state (`seed_states`)
    trains = told.pop("trainable")  # not every constructor takes it
    layer = getattr(keras.layers, type(node.layer).__name__)(**told, name=node.name, dtype=dtype)
    layer.trainable = trains
    return layer


@contextmanager
def _recursion_for(layers: int) -> Iterator[None]:
    """Keras walks a network's graph by recursion, a few frames a layer; Python stops at a thousand frames."""
    before = sys.getrecursionlimit()
    sys.setrecursionlimit(before + 10 * layers)
    try:
        yield
    finally:
        sys.setrecursionlimit(before)
