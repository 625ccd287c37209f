"""Layer slots: deduplicated Keras layers, each at its positions in the network, and the index of their variables."""

from collections.abc import Sequence
from dataclasses import dataclass

from service.contract.architecture import layer_key
from service.contract.network.graph import Node
from service.contract.network.layer import Shape
from service.contract.plan import Plan
from worker.training.activation_taps import Tap, taps_of
from worker.training.keras_session import LayerFactory, StatelessLayer
from worker.training.repeated_stages import Stage


@dataclass(frozen=True)
class LayerSlot:
    """One node of a stage: its layer, and where the layer finds its inputs and the values of its variables.

    Nodes that compute the same function share one layer. Each node has a slot of its own, because each has variables of
    its own.
    """

    node: Node
    layer: StatelessLayer
    activation: str | None  # applied apart from the layer, so that the input of the activation can be observed
    tap: Tap | None  # the recorded activation, if there is one
    inputs: tuple[int, ...]  # positions in the block of the slots that it reads; -1 is the input of the block
    input_shapes: tuple[Shape, ...]  # without the batch dimension
    observed_shapes: tuple[Shape, ...]  # shapes, without the batch dimension, of what the tap observes
    trainable: tuple[int, ...]  # indices of its trainable variables among those of the network
    buffers: tuple[int, ...]  # indices of its buffers among those of the network
    noise: tuple[int, ...]  # indices of its noise states among those of the network


class VariableIndex:
    """Numbers the variables of a plan from input to output, stage by stage, as `slots_of` is called.

    Attributes:
        slots: The slots of every node so far.
        trainable_shapes: Shape of each trainable variable so far.
        buffer_shapes: Shape of each buffer so far.
        trainable_stacks: For each variable of a repeated block, its indices in all repetitions.
        buffer_stacks: The same of buffers.
        noise_states: Number of noise states so far.
    """

    def __init__(self, plan: Plan, layers: LayerFactory, *, tapped: bool) -> None:
        self._shapes = plan.network.shapes(plan.shape.input_shape)
        self._dtype = plan.spec.training.precision
        self._factory = layers
        self._taps = {tap.node.name: tap for tap in taps_of(plan)} if tapped else {}
        self._layers: dict[tuple[str, tuple[Shape, ...], bool], StatelessLayer] = {}
        self.slots: list[LayerSlot] = []
        self.trainable_shapes: list[Shape] = []
        self.buffer_shapes: list[Shape] = []
        self.trainable_stacks: list[tuple[int, ...]] = []
        self.buffer_stacks: list[tuple[int, ...]] = []
        self.noise_states = 0

    def slots_of(self, stage: Stage) -> tuple[LayerSlot, ...]:
        """Create the slots of a stage and number their variables; mutates all attributes.

        Returns:
            The slots of the stage's first block. Those of its repetitions follow in the same order.
        """
        length = len(stage.block)
        positions = {node.name: k for k, node in enumerate(stage.block)}
        inputs = [tuple(positions.get(name, -1) for name in node.inputs) for node in stage.block]
        slots = [self._slot(node, inputs[k % length]) for k, node in enumerate(stage.nodes)]
        self.slots += slots
        if stage.repeats > 1:
            blocks = [slots[k : k + length] for k in range(0, len(slots), length)]
            self.trainable_stacks += zip(*([i for s in block for i in s.trainable] for block in blocks), strict=True)
            self.buffer_stacks += zip(*([i for s in block for i in s.buffers] for block in blocks), strict=True)
        return tuple(slots[:length])

    def _slot(self, node: Node, inputs: tuple[int, ...]) -> LayerSlot:
        tap = self._taps.get(node.name)
        input_shapes = tuple(self._shapes[name] for name in node.inputs)
        # A layer with an activation of its own hides the input of that activation.
        hides = tap is not None and tap.before and len(node.layer.variables(*input_shapes)) > 0
        apart = hides and hasattr(node.layer, "activation")
        layer = self._layer(node, input_shapes, apart)
        first = len(self.trainable_shapes), len(self.buffer_shapes), self.noise_states
        self.trainable_shapes += layer.trainable_shapes
        self.buffer_shapes += layer.buffer_shapes
        self.noise_states += layer.noise_states
        return LayerSlot(
            node,
            layer,
            activation=node.activation if apart else None,
            tap=tap,
            inputs=inputs,
            input_shapes=input_shapes,
            observed_shapes=_observed_shapes(tap, input_shapes, self._shapes[node.name], apart),
            trainable=tuple(range(first[0], len(self.trainable_shapes))),
            buffers=tuple(range(first[1], len(self.buffer_shapes))),
            noise=tuple(range(first[2], self.noise_states)),
        )

    def _layer(self, node: Node, input_shapes: tuple[Shape, ...], apart: bool) -> StatelessLayer:
        key = (layer_key(node.layer), input_shapes, apart)
        if key not in self._layers:
            activation = "linear" if apart else None
            self._layers[key] = self._factory.stateless_layer(node, self._dtype, input_shapes, activation)
        return self._layers[key]


def _observed_shapes(tap: Tap | None, input_shapes: Sequence[Shape], output: Shape, apart: bool) -> tuple[Shape, ...]:
    if tap is None:
        return ()
    if not tap.before:
        return (output,)
    return (output if apart else input_shapes[0], output)
