"""Initial values of every variable of a run, and the seeds of its noise layers."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from service.contract.network.graph import Node
from service.contract.network.layer import Shape
from service.contract.network.layers import Dense
from service.contract.plan import Plan
from worker.training.initializers import SeededInitializers
from worker.training.keras_session import SEED_STATE, KerasSession, LayerFactory
from worker.training.layer_slots import LayerSlot
from worker.training.seeds import MAX_SEED, Stream, generator

Arrays = list[npt.NDArray[np.floating]]


class InitialValues(NamedTuple):
    """Values of the variables of a network, from input to output, in the precision of the plan."""

    trainable: Arrays
    buffers: Arrays  # e.g. the moving statistics of batch normalization


def reached_nodes(plan: Plan) -> list[Node]:
    """Return the nodes that the output depends on, in the network's order: those that a program computes."""
    return [node for node in plan.network.nodes if node.name in plan.network.reached]


def initial_values(plan: Plan, slots: Sequence[LayerSlot], session: KerasSession) -> InitialValues:
    """Draw the values that `keras_model.build_model` gives the same plan, without building most of its layers.

    Args:
        plan: The plan of the run.
        slots: The layer slots of the plan's program, which may have been created for another seed or for other
            initializers.
        session: Gives access to Keras.

    Returns:
        New arrays, except that equal layers without random numbers share theirs.
    """
    initializers, dtype = SeededInitializers(plan), plan.spec.training.precision
    known: dict[tuple[int, tuple[Shape, ...]], InitialValues] = {}
    found = InitialValues([], [])
    with session.exclusive() as layers:
        for node, slot in zip(reached_nodes(plan), slots, strict=True):
            key = (id(node.layer), slot.input_shapes)
            if isinstance(node.layer, Dense) and node.layer.trainable:
                fan_in = slot.input_shapes[0][-1]
                values = InitialValues(_values_of_dense(node.layer, fan_in, initializers, dtype), [])
            elif _is_random(node):
                values = _values_of_layer(node, slot, initializers, dtype, layers)
            else:
                if key not in known:
                    known[key] = _values_of_layer(node, slot, initializers, dtype, layers)
                values = known[key]
            found.trainable.extend(values.trainable)
            found.buffers.extend(values.buffers)
    return found


def noise_seeds(plan: Plan, slots: Sequence[LayerSlot]) -> npt.NDArray[np.int64]:
    """Return a seed for each noise state, from input to output, as int64 [noise states].

    A layer's own seed wins over the noise stream, but the stream advances by one for each state all the same.
    """
    random = generator(plan.spec.training.seed, Stream.NOISE)
    seeds = []
    for node, slot in zip(reached_nodes(plan), slots, strict=True):
        own = getattr(node.layer, "seed", None)
        for _ in slot.noise:
            seed = int(random.integers(0, MAX_SEED))
            seeds.append(seed if own is None else own)
    return np.array(seeds, np.int64)


def _is_random(node: Node) -> bool:
    """Whether any initializer of the node draws random numbers."""
    fields = (name for name in type(node.layer).model_fields if name.endswith("_initializer"))
    return any(hasattr(getattr(node.layer, name), "seed") for name in fields)


def _values_of_dense(layer: Dense, fan_in: int, initializers: SeededInitializers, dtype: str) -> Arrays:
    """Draw what the Keras layer would draw; most layers are dense, and creating one takes milliseconds."""
    kernel, bias = initializers(layer.kernel_initializer), initializers(layer.bias_initializer)
    values = [np.asarray(kernel((fan_in, layer.units), dtype=dtype))]
    return [*values, np.asarray(bias((layer.units,), dtype=dtype))] if layer.use_bias else values


def _values_of_layer(
    node: Node, slot: LayerSlot, initializers: SeededInitializers, dtype: str, layers: LayerFactory
) -> InitialValues:
    has_variables = bool(slot.trainable or slot.buffers)
    if not has_variables and not _is_random(node):
        return InitialValues([], [])
    layer = layers.layer(node, dtype, initializers)  # advances the weight stream even if there are no variables
    if not has_variables:
        return InitialValues([], [])
    layer.build((None, *slot.input_shapes[0]))
    buffers = [v.numpy() for v in layer.non_trainable_variables if v.name != SEED_STATE]
    return InitialValues([v.numpy() for v in layer.trainable_variables], buffers)
