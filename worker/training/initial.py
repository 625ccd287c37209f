"""What a run begins with: initial values of every variable, and the seeds of its noise layers."""

from collections.abc import Sequence
from typing import NamedTuple

import keras
import numpy as np
import numpy.typing as npt

from service.contract.network.graph import Node
from service.contract.network.layer import Shape
from service.contract.network.layers import Dense
from service.contract.plan import Plan
from worker.training.models import SEED_STATE, Weights, build, layer_of
from worker.training.places import Place
from worker.training.seeds import LARGEST, Stream, generator

Arrays = list[npt.NDArray[np.floating]]


class Initial(NamedTuple):
    """Values of trainable variables and of buffers, from input to output."""

    trainable: Arrays
    buffers: Arrays


def reached_nodes(plan: Plan) -> list[Node]:
    """The nodes that the output depends on, in order: those that have a place in a program."""
    return [node for node in plan.network.nodes if node.name in plan.network.reached]


def initial_values(plan: Plan, places: Sequence[Place]) -> Initial:
    """What `models.build` gives the same plan, without building all of it.

    `places` are those of the plan's program, perhaps made for another seed or other initializers.
    """
    weights, dtype = Weights(plan), plan.spec.training.precision
    known: dict[tuple[int, tuple[Shape, ...]], Initial] = {}
    found = Initial([], [])
    for node, place in zip(reached_nodes(plan), places, strict=True):
        key = (id(node.layer), place.given)
        if isinstance(node.layer, Dense) and node.layer.trainable:
            values = Initial(_of_dense(node.layer, place.given[0][-1], weights, dtype), [])
        elif _draws(node):
            values = _of_any(node, place, weights, dtype)
        else:
            values = known[key] if key in known else _of_any(node, place, weights, dtype)
            known[key] = values
        found.trainable.extend(values.trainable)
        found.buffers.extend(values.buffers)
    return found


def noise_seeds(plan: Plan, places: Sequence[Place]) -> npt.NDArray[np.int64]:
    """A seed for each random state, from input to output: the layer's own, or one of the noise stream."""
    drawn = generator(plan.spec.training.seed, Stream.NOISE)
    seeds = []
    for node, place in zip(reached_nodes(plan), places, strict=True):
        own = getattr(node.layer, "seed", None)
        for _ in place.noise:
            seed = int(drawn.integers(0, LARGEST))
            seeds.append(seed if own is None else own)
    return np.array(seeds, np.int64)


def model_with(plan: Plan, values: Initial) -> keras.Model:
    """The plan's network as a Keras model that has these values."""
    model = build(plan)
    trainable, buffers = iter(values.trainable), iter(values.buffers)
    for node in reached_nodes(plan):
        layer = model.get_layer(node.name)
        for variable in layer.trainable_variables:
            variable.assign(next(trainable))
        for variable in (v for v in layer.non_trainable_variables if v.name != SEED_STATE):
            variable.assign(next(buffers))
    return model


def _draws(node: Node) -> bool:
    fields = (name for name in type(node.layer).model_fields if name.endswith("_initializer"))
    return any(hasattr(getattr(node.layer, name), "seed") for name in fields)


def _of_dense(layer: Dense, fan_in: int, weights: Weights, dtype: str) -> Arrays:
    """As the Keras layer would draw them; most layers are of this kind, and making one costs milliseconds."""
    kernel, bias = weights(layer.kernel_initializer), weights(layer.bias_initializer)
    values = [np.asarray(kernel((fan_in, layer.units), dtype=dtype))]
    return [*values, np.asarray(bias((layer.units,), dtype=dtype))] if layer.use_bias else values


def _of_any(node: Node, place: Place, weights: Weights, dtype: str) -> Initial:
    if not (place.trainable or place.buffers) and not _draws(node):
        return Initial([], [])
    layer = layer_of(node, dtype, weights)
    if not (place.trainable or place.buffers):
        return Initial([], [])
    layer.build((None, *place.given[0]))
    buffers = [v.numpy() for v in layer.non_trainable_variables if v.name != SEED_STATE]
    return Initial([v.numpy() for v in layer.trainable_variables], buffers)
