"""A network's layers in their places, each distinct one made once, with the numbers of its variables."""

from dataclasses import dataclass
from typing import Any

import keras

from service.contract.architecture import layer_key
from service.contract.network import reshaping
from service.contract.network.graph import Node
from service.contract.network.initializers import Initializer
from service.contract.network.layer import Shape
from service.contract.plan import Plan
from worker.training.models import SEED_STATE, Tap, layer_of, taps
from worker.training.stages import Stage


@dataclass(frozen=True)
class Place:
    """A node of a block: its layer, and where its inputs and the values of its variables are found."""

    node: Node
    layer: keras.Layer
    activation: str | None  # applied apart from the layer, so that what it is applied to can be seen
    tap: Tap | None
    inputs: tuple[int, ...]  # places of the block, -1 for what comes into it
    given: tuple[Shape, ...]  # shapes of the inputs
    trainable: tuple[int, ...]  # numbers of its variables
    buffers: tuple[int, ...]
    noise: tuple[int, ...]  # numbers of the random states
    seen: tuple[Shape, ...]  # shapes [units] of what its tap shows

    @property
    def variables(self) -> tuple[list[Any], list[Any], list[Any]]:
        """Keras's variables in the order of `trainable`, `buffers` and `noise`."""
        others = self.layer.non_trainable_variables
        states = [v for v in others if v.name == SEED_STATE]
        return list(self.layer.trainable_variables), [v for v in others if v.name != SEED_STATE], states


class Places:
    """The places of a plan, their variables numbered from input to output, stage by stage."""

    def __init__(self, plan: Plan, tapped: bool) -> None:
        self._shapes = plan.network.shapes(plan.shape.input_shape)
        self._dtype = plan.spec.training.precision
        self._taps = {tap.node.name: tap for tap in taps(plan)} if tapped else {}
        self._layers: dict[tuple[str, tuple[Shape, ...], bool], keras.Layer] = {}
        self.all: list[Place] = []  # of every node
        self.trainable_shapes: list[Shape] = []
        self.buffer_shapes: list[Shape] = []
        self.trainable_stacks: list[tuple[int, ...]] = []
        self.buffer_stacks: list[tuple[int, ...]] = []
        self.noise_states = 0

    def block(self, stage: Stage) -> tuple[Place, ...]:
        """The places of a stage's block; those of its repetitions follow in the same order."""
        length = len(stage.block)
        positions = {node.name: k for k, node in enumerate(stage.block)}
        inputs = [tuple(positions.get(name, -1) for name in node.inputs) for node in stage.block]
        places = [self._place(node, inputs[k % length]) for k, node in enumerate(stage.nodes)]
        self.all += places
        if stage.repeats > 1:
            blocks = [places[k : k + length] for k in range(0, len(places), length)]
            self.trainable_stacks += zip(*([i for p in block for i in p.trainable] for block in blocks), strict=True)
            self.buffer_stacks += zip(*([i for p in block for i in p.buffers] for block in blocks), strict=True)
        return tuple(places[:length])

    def _place(self, node: Node, inputs: tuple[int, ...]) -> Place:
        tap = self._taps.get(node.name)
        given = tuple(self._shapes[name] for name in node.inputs)
        apart = tap is not None and tap.before and len(node.layer.variables(*given)) > 0
        apart = apart and hasattr(node.layer, "activation")
        layer = self._layer(node, given, apart)
        output = self._shapes[node.name]
        shown = () if tap is None else (output if apart else given[0], output) if tap.before else (output,)
        place = Place(node, layer, node.activation if apart else None, tap, inputs, given, (), (), (), shown)
        trainable, buffers, states = place.variables
        first, first_buffer, first_noise = len(self.trainable_shapes), len(self.buffer_shapes), self.noise_states
        self.trainable_shapes += [tuple(v.shape) for v in trainable]
        self.buffer_shapes += [tuple(v.shape) for v in buffers]
        self.noise_states += len(states)
        numbers = (
            tuple(range(first, len(self.trainable_shapes))),
            tuple(range(first_buffer, len(self.buffer_shapes))),
            tuple(range(first_noise, self.noise_states)),
        )
        return Place(node, layer, place.activation, tap, inputs, given, *numbers, shown)

    def _layer(self, node: Node, given: tuple[Shape, ...], apart: bool) -> keras.Layer:
        key = (layer_key(node.layer), given, apart)
        if key not in self._layers:
            layer = layer_of(node, self._dtype, _no_values, "linear" if apart else None)
            symbols = [keras.KerasTensor((None, *shape), self._dtype) for shape in given]
            layer(symbols if isinstance(node.layer, reshaping.MERGES) else symbols[0])
            self._layers[key] = layer
        return self._layers[key]


def _no_values(_: Initializer) -> keras.initializers.Initializer:
    """The layers of a program are called with values from outside."""
    return keras.initializers.Zeros()
