"""Compiled programs, kept for the next run of the same architecture; the least recently used is forgotten first."""

import gc
import math
import threading
from collections import OrderedDict
from typing import NamedTuple

import keras

from service.contract.architecture import architecture_of, layer_key
from service.contract.history_format import bytes_a_value
from service.contract.plan import Plan
from worker.training.program import LOOPS_IN_GRAPH, LOOPS_IN_XLA, Program, pays_xla
from worker.training.stages import stages_of

KEPT = 24
MOST_BYTES = 600 * 2**20  # of all of them, by the estimate
BYTES_A_LAYER = 3 * 2**19  # that is traced, measured on perceptrons of 4 to 200 layers; under XLA twice as much


class _Kept(NamedTuple):
    program: Program
    bytes: int


class Programs:
    """The programs of one training process.

    `alone` is to be held by whoever makes something of Keras layers, in any thread: Keras has one state for the whole
    process, and forgetting a program clears it. What another thread was tracing would be left with its layers' own
    values, which are zeros, and nothing would say so.
    """

    def __init__(self, kept: int = KEPT, most_bytes: int = MOST_BYTES) -> None:
        self.alone = threading.RLock()
        self._kept = kept
        self._most_bytes = most_bytes
        self._programs: OrderedDict[tuple[str, bool], _Kept] = OrderedDict()

    def __len__(self) -> int:
        return len(self._programs)

    @property
    def architectures(self) -> tuple[str, ...]:
        """What there are programs of, the most recently used first."""
        with self.alone:
            return tuple(dict.fromkeys(architecture for architecture, _ in reversed(self._programs)))

    def has(self, plan: Plan) -> bool:
        """Whether there is a program for this plan."""
        return _key(plan) in self._programs

    def has_room_for(self, plan: Plan) -> bool:
        """Whether a program for this plan would drive no other out."""
        with self.alone:
            return self._fits(estimated_bytes(plan))

    def program_for(self, plan: Plan) -> Program:
        """The program of an earlier run of this plan's architecture, or a new one that has yet to be compiled."""
        key, size = _key(plan), estimated_bytes(plan)
        with self.alone:
            if key in self._programs:
                self._programs.move_to_end(key)
                return self._programs[key].program
            while self._programs and not self._fits(size):
                self._programs.popitem(last=False)
                _collect()
            program = Program(plan, xla=key[1])
            self._programs[key] = _Kept(program, size)
            return program

    def forget(self, plan: Plan) -> None:
        """Drop the program of a plan: one whose run failed may be half made."""
        with self.alone:
            self._programs.pop(_key(plan), None)
            _collect()

    def _fits(self, size: int) -> bool:
        taken = sum(kept.bytes for kept in self._programs.values())
        return len(self._programs) < self._kept and taken + size <= self._most_bytes


def estimated_bytes(plan: Plan) -> int:
    """About what a program takes in memory: a trace of each layer, and the values that its layers were made with."""
    xla = pays_xla(plan)
    loops_from = LOOPS_IN_XLA if xla else LOOPS_IN_GRAPH
    stages = stages_of(plan)
    traced = sum(len(stage.block if stage.pays_loop(loops_from) else stage.nodes) for stage in stages)
    shapes = plan.network.shapes(plan.shape.input_shape)
    made = {}  # each distinct layer is made once
    for node in (node for stage in stages for node in stage.nodes):
        given = tuple(shapes[name] for name in node.inputs)
        made[layer_key(node.layer), given] = sum(math.prod(shape) for _, shape in node.layer.variables(*given))
    return traced * BYTES_A_LAYER * (2 if xla else 1) + sum(made.values()) * bytes_a_value(plan.spec.training.precision)


def _key(plan: Plan) -> tuple[str, bool]:
    return architecture_of(plan), pays_xla(plan)


def _collect() -> None:
    """A traced program is a knot of cycles, and Keras remembers every layer that it made."""
    keras.backend.clear_session(free_memory=False)
    gc.collect()
