"""A network as a graph of layers, and what follows from it by arithmetic: shapes, variables, sizes."""

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

INPUT = ""  # the name that stands for the rows of the data in a node's inputs

ACTIVATION = "activation"  # the role of a row that stands for a hidden activation

KEEPS_VALUES = (reshaping.Flatten, reshaping.Reshape, reshaping.Permute, reshaping.Identity)

# What a recorded row is called by the variable's name in its layer.
ROLES = ("kernel", "bias", "gamma", "beta", "recurrent_kernel", "embeddings", "alpha")


class Variable(BaseModel):
    """A row of a statistic: a trainable variable, or for activations a hidden layer."""

    name: str = Field(description="`layer/role`, as in `dense_3/kernel`.")
    layer: str
    role: str = Field(description="kernel, bias, gamma, beta, recurrent_kernel, embeddings, alpha; or activation.")
    depth: int = Field(description="Weight layers between the input and this one.")
    shape: tuple[int, ...]
    has_gradient: bool = Field(True, description="Whether the loss depends on it.")


@dataclass(frozen=True)
class Node:
    """A layer in its place; `inputs` are names of nodes, INPUT for the data."""

    name: str
    layer: Layer
    inputs: tuple[str, ...]

    @property
    def activation(self) -> str | None:
        """The activation within this layer, by its name; None where it has none."""
        if isinstance(self.layer, layers.ReLU | layers.LeakyReLU | layers.ELU | layers.PReLU | layers.Softmax):
            return type(self.layer).__name__.lower()
        name: str | None = getattr(self.layer, "activation", None)
        return None if name == "linear" and not isinstance(self.layer, layers.Activation) else name

    @property
    def is_recurrent(self) -> bool:
        """Whether it walks along a sequence."""
        return isinstance(self.layer, SimpleRNN | LSTM | GRU)


class LayerMismatch(ValueError):
    """A layer that cannot stand where it stands; the message begins with its name."""


@dataclass(frozen=True)
class Network:
    """Nodes in an order in which each follows its inputs; the loss reads `output`."""

    nodes: tuple[Node, ...]
    output: str
    input_shape: tuple[int | None, ...] | None = None  # as the network itself says it; None: whatever comes

    @cached_property
    def by_name(self) -> Mapping[str, Node]:
        """Nodes by their names."""
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
        """The reached nodes that apply an activation, without those behind which only the output's shape changes."""
        last = {node.name for node in self.output_path()}
        return tuple(n for n in self.nodes if n.activation and n.name in self.reached and n.name not in last)

    def output_path(self) -> Iterator[Node]:
        """From the output towards the input, up to the first node that does more than change the shape."""
        name = self.output
        while name != INPUT:
            node = self.by_name[name]
            yield node
            if not isinstance(
                node.layer, reshaping.Flatten | reshaping.Reshape | reshaping.Permute | reshaping.Identity
            ):
                return
            name = node.inputs[0]

    @property
    def output_activation(self) -> str:
        """The name of the activation that the loss reads, `linear` where there is none."""
        last = None
        for last in self.output_path():  # noqa: B007 - the last one counts
            pass
        return (last.activation if last is not None else None) or "linear"

    def shapes(self, input_shape: Shape) -> Mapping[str, Shape]:
        """Output shape of every node, INPUT included.

        Raises:
            LayerMismatch: a layer cannot take what comes before it.
        """
        found = self._known_shapes.get(input_shape)
        if found is None:
            found = self._known_shapes[input_shape] = self._shapes(input_shape)
        return found

    @cached_property
    def _known_shapes(self) -> dict[Shape, Mapping[str, Shape]]:
        """By the input's shape: all that is asked of a network begins with these."""
        return {}

    @cached_property
    def _known_variables(self) -> dict[Shape, tuple[Variable, ...]]:
        return {}

    def _shapes(self, input_shape: Shape) -> dict[str, Shape]:
        found = {INPUT: input_shape}
        for node in self.nodes:
            try:
                shape = node.layer.output_shape(*(found[name] for name in node.inputs))
                if math.prod(shape) > MAX_INTEGER:
                    raise ShapeMismatch("makes more numbers of a row than can be counted")
            except ShapeMismatch as error:
                raise LayerMismatch(f"layer '{node.name}' ({type(node.layer).__name__}) {error}") from error
            found[node.name] = shape
        return found

    def depths(self) -> dict[str, int]:
        """Weight layers on the longest way from the input to each node, itself included."""
        found = {INPUT: 0}
        for node in self.nodes:
            found[node.name] = max(found[name] for name in node.inputs) + node.layer.has_kernel
        return found

    def variables(self, input_shape: Shape) -> tuple[Variable, ...]:
        """Every trainable variable from input to output."""
        found = self._known_variables.get(input_shape)
        if found is None:
            found = self._known_variables[input_shape] = self._variables(input_shape)
        return found

    def _variables(self, input_shape: Shape) -> tuple[Variable, ...]:
        shapes, depths = self.shapes(input_shape), self.depths()
        return tuple(
            Variable(
                name=f"{node.name}/{name}",
                layer=node.name,
                role=name if name in ROLES else "other",
                depth=max(0, depths[node.name] - 1),
                shape=shape,
                has_gradient=node.name in self.reached,
            )
            for node in self.nodes
            if node.layer.trainable
            for name, shape in node.layer.variables(*(shapes[i] for i in node.inputs))
        )

    def activations(self, input_shape: Shape) -> tuple[Variable, ...]:
        """One row a hidden activation, from input to output."""
        shapes, depths = self.shapes(input_shape), self.depths()
        return tuple(
            Variable(
                name=node.name,
                layer=node.name,
                role=ACTIVATION,
                depth=max(0, depths[node.name] - 1),
                shape=shapes[node.name],
            )
            for node in self.hidden_activations
        )

    def values(self, input_shape: Shape) -> int:
        """Numbers that a forward pass makes of one row, the row included."""
        shapes = self.shapes(input_shape)
        made = sum(node.layer.values(*(shapes[name] for name in node.inputs)) for node in self.nodes)
        return math.prod(input_shape) + made

    def parameter_count(self, shapes: Mapping[str, Shape]) -> int:
        """Numbers in all variables, from the shapes of all nodes."""
        return sum(
            math.prod(shape)
            for node in self.nodes
            for _, shape in node.layer.variables(*(shapes[name] for name in node.inputs))
        )


def in_order(nodes: Sequence[Node]) -> tuple[Node, ...]:
    """The nodes with each after its inputs, else in the order given.

    Raises:
        LayerMismatch: an input that no node has the name of, or a cycle.
    """
    by_name = {node.name: node for node in nodes}
    placed: dict[str, Node] = {}
    for node in nodes:
        for name in node.inputs:
            if name != INPUT and name not in by_name:
                raise LayerMismatch(f"layer '{node.name}' takes the output of '{name}', which is no layer")
    waiting = {node.name: {name for name in node.inputs if name != INPUT} for node in nodes}
    followers: dict[str, list[str]] = {name: [] for name in by_name}
    for name, inputs in waiting.items():
        for before in inputs:
            followers[before].append(name)
    positions = {node.name: position for position, node in enumerate(nodes)}
    ready = [positions[name] for name, inputs in waiting.items() if not inputs]
    while ready:
        node = nodes[heappop(ready)]
        placed[node.name] = node
        for after in followers[node.name]:
            waiting[after].discard(node.name)
            if not waiting[after]:
                heappush(ready, positions[after])
    if len(placed) < len(by_name):
        stuck = next(node.name for node in nodes if node.name not in placed)
        raise LayerMismatch(f"layer '{stuck}' stands in a cycle, or behind one")
    return tuple(placed.values())
