"""A network as a graph of layers. Shapes, variables and sizes follow by arithmetic; nothing is built."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from heapq import heappop, heappush

from pydantic import BaseModel, Field

from service.contract.network import layers, reshaping
from service.contract.network.layer import Layer, Shape, ShapeMismatch
from service.contract.network.recurrent import GRU, LSTM, SimpleRNN
from service.contract.spec_part import MAX_INTEGER

INPUT = ""  # names the network's input among the inputs of a node

ACTIVATION = "activation"  # the role of a hidden activation among variables

KEEPS_VALUES = (reshaping.Flatten, reshaping.Reshape, reshaping.Permute, reshaping.Identity)

# Roles that keep the name that the variable has in its Keras layer; all other variables have the role `other`.
ROLES = ("kernel", "bias", "gamma", "beta", "recurrent_kernel", "embeddings", "alpha")


class Variable(BaseModel):
    """What one row of a statistic describes: a trainable variable, or a hidden activation."""

    name: str = Field(description="`layer/role`, as in `dense_3/kernel`.")
    layer: str
    role: str = Field(description="kernel, bias, gamma, beta, recurrent_kernel, embeddings, alpha; or activation.")
    depth: int = Field(description="Weight layers between the input and this one.")
    shape: tuple[int, ...]
    has_gradient: bool = Field(True, description="Whether the loss depends on it.")


@dataclass(frozen=True)
class Node:
    """A layer and where its inputs come from."""

    name: str
    layer: Layer
    inputs: tuple[str, ...]  # names of nodes, INPUT for the network's input

    @property
    def activation(self) -> str | None:
        """The name of the activation that the layer applies; None if it applies none."""
        if isinstance(self.layer, layers.ReLU | layers.LeakyReLU | layers.ELU | layers.PReLU | layers.Softmax):
            return type(self.layer).__name__.lower()
        name: str | None = getattr(self.layer, "activation", None)
        return None if name == "linear" and not isinstance(self.layer, layers.Activation) else name

    @property
    def is_recurrent(self) -> bool:
        """Whether the layer processes a sequence step by step."""
        return isinstance(self.layer, SimpleRNN | LSTM | GRU)


class LayerMismatch(ValueError):
    """A layer does not fit to its inputs; the message begins with the layer's name."""


@dataclass(frozen=True)
class Network:
    """A directed acyclic graph of layers."""

    nodes: tuple[Node, ...]  # each after its inputs
    output: str  # the node that the loss reads
    input_shape: tuple[int | None, ...] | None = None  # as the InputLayer declares it; None if there is none

    @cached_property
    def by_name(self) -> Mapping[str, Node]:
        """The nodes by their names."""
        return {node.name: node for node in self.nodes}

    @cached_property
    def reached(self) -> frozenset[str]:
        """Names of the nodes that the output depends on."""
        found: set[str] = set()
        waiting = [self.output]
        while waiting:
            name = waiting.pop()
            if name != INPUT and name not in found:
                found.add(name)
                waiting.extend(self.by_name[name].inputs)
        return frozenset(found)

    @cached_property
    def hidden_activations(self) -> tuple[Node, ...]:
        """The reached nodes that apply an activation, without the output layer and the reshaping after it."""
        last = {node.name for node in self.output_path()}
        return tuple(n for n in self.nodes if n.activation and n.name in self.reached and n.name not in last)

    def output_path(self) -> Iterator[Node]:
        """Yield nodes from the output backwards, up to the first one that does more than change the shape."""
        name = self.output
        while name != INPUT:
            node = self.by_name[name]
            yield node
            if not isinstance(node.layer, KEEPS_VALUES):
                return
            name = node.inputs[0]

    @property
    def output_activation(self) -> str:
        """The name of the output activation, `linear` if there is none."""
        *_, last = [None, *self.output_path()]
        return (last.activation if last is not None else None) or "linear"

    @cached_property
    def depths(self) -> Mapping[str, int]:
        """For each node the weight layers on the longest path from the input, the node itself included."""
        found = {INPUT: 0}
        for node in self.nodes:
            found[node.name] = max(found[name] for name in node.inputs) + node.layer.has_kernel
        return found

    def sized(self, input_shape: Shape) -> "SizedNetwork":
        """Return the network together with the shape of its input; shapes are computed once per input shape."""
        found = self._sized.get(input_shape)
        if found is None:
            found = self._sized[input_shape] = SizedNetwork(self, input_shape)
        return found

    def shapes(self, input_shape: Shape) -> Mapping[str, Shape]:
        """Return the output shape of every node; see `SizedNetwork.shapes`."""
        return self.sized(input_shape).shapes

    def variables(self, input_shape: Shape) -> tuple[Variable, ...]:
        """Return every trainable variable; see `SizedNetwork.variables`."""
        return self.sized(input_shape).variables

    @cached_property
    def _sized(self) -> dict[Shape, "SizedNetwork"]:
        return {}


@dataclass(frozen=True)
class SizedNetwork:
    """A network and the shape of its input. Shapes are without the batch dimension."""

    network: Network
    input_shape: Shape

    @cached_property
    def shapes(self) -> Mapping[str, Shape]:
        """The output shape of every node, and the input shape under the name INPUT.

        Raises:
            LayerMismatch: A layer does not accept the shapes of its inputs.
        """
        found = {INPUT: self.input_shape}
        for node in self.network.nodes:
            try:
                shape = node.layer.output_shape(*(found[name] for name in node.inputs))
                if math.prod(shape) > MAX_INTEGER:
                    raise ShapeMismatch(f"makes more than {MAX_INTEGER:,} values per sample")
            except ShapeMismatch as error:
                raise LayerMismatch(f"layer '{node.name}' ({type(node.layer).__name__}) {error}") from error
            found[node.name] = shape
        return found

    def inputs_of(self, node: Node) -> tuple[Shape, ...]:
        """Return the shapes of a node's inputs."""
        return tuple(self.shapes[name] for name in node.inputs)

    @cached_property
    def variables_of(self) -> Mapping[str, Mapping[str, Shape]]:
        """For each node the shapes of its variables by their names in the Keras layer, in Keras's order."""
        return {node.name: dict(node.layer.variables(*self.inputs_of(node))) for node in self.network.nodes}

    @cached_property
    def variables(self) -> tuple[Variable, ...]:
        """Every trainable variable from input to output."""
        return tuple(
            Variable(
                name=f"{node.name}/{name}",
                layer=node.name,
                role=name if name in ROLES else "other",
                depth=self._depth(node),
                shape=shape,
                has_gradient=node.name in self.network.reached,
            )
            for node in self.network.nodes
            if node.layer.trainable
            for name, shape in self.variables_of[node.name].items()
        )

    @cached_property
    def activations(self) -> tuple[Variable, ...]:
        """Every hidden activation from input to output."""
        return tuple(
            Variable(
                name=node.name,
                layer=node.name,
                role=ACTIVATION,
                depth=self._depth(node),
                shape=self.shapes[node.name],
            )
            for node in self.network.hidden_activations
        )

    @cached_property
    def values_per_sample(self) -> int:
        """Values that a forward pass keeps per sample, the sample itself included."""
        kept = (node.layer.values(self.shapes[node.name], *self.inputs_of(node)) for node in self.network.nodes)
        return math.prod(self.input_shape) + sum(kept)

    @cached_property
    def parameter_count(self) -> int:
        """Values in all variables."""
        return sum(math.prod(shape) for variables in self.variables_of.values() for shape in variables.values())

    def _depth(self, node: Node) -> int:
        return max(0, self.network.depths[node.name] - 1)


def in_order(nodes: Sequence[Node]) -> tuple[Node, ...]:
    """Return the nodes with each after its inputs, otherwise in the given order.

    Raises:
        LayerMismatch: An input does not exist, or the graph has a cycle.
    """
    by_name = {node.name: node for node in nodes}
    for node in nodes:
        for name in node.inputs:
            if name != INPUT and name not in by_name:
                raise LayerMismatch(f"layer '{node.name}' has the input '{name}', but there is no such layer")
    waiting = {node.name: {name for name in node.inputs if name != INPUT} for node in nodes}
    followers: dict[str, list[str]] = {name: [] for name in by_name}
    for name, inputs in waiting.items():
        for before in inputs:
            followers[before].append(name)
    positions = {node.name: position for position, node in enumerate(nodes)}
    ready = [positions[name] for name, inputs in waiting.items() if not inputs]
    placed: dict[str, Node] = {}
    while ready:
        node = nodes[heappop(ready)]
        placed[node.name] = node
        for after in followers[node.name]:
            waiting[after].discard(node.name)
            if not waiting[after]:
                heappush(ready, positions[after])
    if len(placed) < len(by_name):
        stuck = next(node.name for node in nodes if node.name not in placed)
        raise LayerMismatch(f"layer '{stuck}' is part of a cycle, or depends on one")
    return tuple(placed.values())
