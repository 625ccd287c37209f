"""Cuts a network into stages: consecutive equal blocks of layers form one stage that repeats its block.

The size of a program then depends on the number of distinct blocks, not on the depth: a hundred equal layers can be
traced and compiled like one (docs/decisions/0008).
"""

from collections.abc import Sequence
from dataclasses import dataclass

from service.contract.architecture import layer_key
from service.contract.network.graph import INPUT, Node
from service.contract.plan import Plan

MIN_REPEATS = 4
MAX_BLOCK_NODES = 16  # a bottleneck block of a residual network has about ten


@dataclass(frozen=True)
class Stage:
    """A chain of `repeats` equal blocks; each block reads no other node than the last of the block before it."""

    nodes: tuple[Node, ...]  # of all blocks, from input to output
    repeats: int = 1

    @property
    def block(self) -> tuple[Node, ...]:
        """The nodes of the first block."""
        return self.nodes[: len(self.nodes) // self.repeats]

    def worth_loop(self, loops_from: int) -> bool:
        """Whether the stage repeats and has at least `loops_from` nodes in all, so that it runs as a loop."""
        return self.repeats > 1 and len(self.nodes) >= loops_from


def stages_of(plan: Plan) -> tuple[Stage, ...]:
    """Cut the network of a plan into stages, from input to output.

    Returns:
        Stages that cover each node that the output depends on exactly once. The last stage does not repeat, because the
        loss is computed within it.
    """
    nodes = [node for node in plan.network.nodes if node.name in plan.network.reached]
    repetitions = _Repetitions(plan, nodes)
    found: list[Stage] = []
    start = position = 0
    while position < len(nodes):
        length, repeats = repetitions.at(position)
        if repeats == 1:
            position += 1
            continue
        if position > start:
            found.append(Stage(tuple(nodes[start:position])))
        start = position + length * repeats
        found.append(Stage(tuple(nodes[position:start]), repeats))
        position = start
    return (*found, Stage(tuple(nodes[start:])))


class _Repetitions:
    """Finds where blocks of nodes repeat."""

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
        self._equal = [_equal_runs(keys[: self._count], period) for period in range(1, MAX_BLOCK_NODES + 1)]
        self._earliest = _earliest_input(self._inputs)

    def at(self, start: int) -> tuple[int, int]:
        """Return the length of the block that begins at node `start`, and its repeats; (1, 1) if no block repeats."""
        for length, equal in enumerate(self._equal, 1):
            if start + length > self._count:
                break
            repeats = 1 + equal[start] // length
            end = start + length * repeats
            closed = all(i >= start - 1 for number in range(start, start + length) for i in self._inputs[number])
            if repeats >= MIN_REPEATS and closed and self._earliest[end] >= end - 1:
                return length, repeats
        return 1, 1


def _equal_runs(keys: Sequence[object], period: int) -> list[int]:
    """Count, for each position, how many consecutive keys from there on equal the key one period later."""
    runs = [0] * (len(keys) + 1)
    for i in range(len(keys) - period - 1, -1, -1):
        runs[i] = runs[i + 1] + 1 if keys[i] == keys[i + period] else 0
    return runs


def _earliest_input(inputs: Sequence[Sequence[int]]) -> list[int]:
    """Find, for each position, the earliest node that this node or any later node reads."""
    earliest = [len(inputs)] * (len(inputs) + 1)
    for i in range(len(inputs) - 1, -1, -1):
        earliest[i] = min(earliest[i + 1], *inputs[i])
    return earliest
