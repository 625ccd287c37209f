"""A network cut into stages: where a block of layers repeats, a stage runs one block again and again.

A program then grows with the number of distinct blocks, not with the depth: a hundred equal layers are traced and
compiled like one.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from service.contract.architecture import layer_key
from service.contract.network.graph import INPUT, Node
from service.contract.plan import Plan

FEWEST_REPEATS = 4
LONGEST_BLOCK = 16  # nodes; a bottleneck block of a residual network has about ten


@dataclass(frozen=True)
class Stage:
    """`repeats` equal blocks, one after the other; each reads only the last node of the one before."""

    nodes: tuple[Node, ...]
    repeats: int = 1

    @property
    def block(self) -> tuple[Node, ...]:
        """The nodes of the first block."""
        return self.nodes[: len(self.nodes) // self.repeats]

    def pays_loop(self, loops_from: int) -> bool:
        """Whether it repeats, and has at least so many layers in all."""
        return self.repeats > 1 and len(self.nodes) >= loops_from


def stages_of(plan: Plan) -> tuple[Stage, ...]:
    """The stages of a plan's network, from input to output; the last one does not repeat."""
    nodes = [node for node in plan.network.nodes if node.name in plan.network.reached]
    periods = _Periods(plan, nodes)
    found: list[Stage] = []
    start = position = 0
    while position < len(nodes):
        length, repeats = periods.at(position)
        if repeats == 1:
            position += 1
            continue
        if position > start:
            found.append(Stage(tuple(nodes[start:position])))
        start = position + length * repeats
        found.append(Stage(tuple(nodes[position:start]), repeats))
        position = start
    return (*found, Stage(tuple(nodes[start:])))


class _Periods:
    """Where the nodes repeat."""

    def __init__(self, plan: Plan, nodes: Sequence[Node]) -> None:
        shapes = plan.network.shapes(plan.shape.input_shape)
        positions = {INPUT: -1} | {node.name: i for i, node in enumerate(nodes)}
        self._inputs = [[positions[name] for name in node.inputs] for node in nodes]
        keys = [
            (
                layer_key(node.layer),
                tuple(shapes[name] for name in node.inputs),
                tuple(i - number for number in self._inputs[i]),
            )
            for i, node in enumerate(nodes)
        ]
        output_path = {node.name for node in plan.network.output_path()}
        self._count = next(i for i, node in enumerate(nodes) if node.name in output_path)
        self._equal = [_runs_of_equals(keys[: self._count], period) for period in range(1, LONGEST_BLOCK + 1)]
        self._earliest = _earliest_input(self._inputs)

    def at(self, start: int) -> tuple[int, int]:
        """Length of the block that begins here, and how often it repeats: (1, 1) where none does."""
        for length, equal in enumerate(self._equal, 1):
            if start + length > self._count:
                break
            repeats = 1 + equal[start] // length
            end = start + length * repeats
            apart = all(i >= start - 1 for number in range(start, start + length) for i in self._inputs[number])
            if repeats >= FEWEST_REPEATS and apart and self._earliest[end] >= end - 1:
                return length, repeats
        return 1, 1


def _runs_of_equals(keys: Sequence[object], period: int) -> list[int]:
    """For each position, how many in a row from there are equal to the one a period later."""
    runs = [0] * (len(keys) + 1)
    for i in range(len(keys) - period - 1, -1, -1):
        runs[i] = runs[i + 1] + 1 if keys[i] == keys[i + period] else 0
    return runs


def _earliest_input(inputs: Sequence[Sequence[int]]) -> list[int]:
    """For each position, the earliest node that it or any later one reads."""
    earliest = [len(inputs)] * (len(inputs) + 1)
    for i in range(len(inputs) - 1, -1, -1):
        earliest[i] = min(earliest[i + 1], *inputs[i])
    return earliest
