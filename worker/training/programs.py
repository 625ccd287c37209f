"""Programs of recent architectures, kept for the next run of each; the least recently used one is dropped first."""

import math
from collections import OrderedDict
from typing import NamedTuple

from service.contract.architecture import architecture_of, layer_key
from service.contract.history_format import bytes_per_value
from service.contract.plan import Plan
from worker.training.keras_session import KerasSession
from worker.training.program import LOOPS_IN_GRAPH, LOOPS_IN_XLA, Program, worth_xla
from worker.training.repeated_stages import stages_of

MAX_PROGRAMS = 24
MAX_BYTES = 600 * 2**20  # of all programs, by `estimated_bytes`
BYTES_PER_TRACED_LAYER = 3 * 2**19  # measured on perceptrons of 4 to 200 layers; twice as much under XLA


class _Entry(NamedTuple):
    program: Program
    bytes: int


class Programs:
    """The programs of one training process; safe to use from several threads.

    Args:
        session: Gives access to Keras.
        max_programs: How many programs are kept at most.
        max_bytes: How much memory the kept programs may take, by `estimated_bytes`. The latest program is kept even if
            it is larger.

    Attributes:
        session: Gives access to Keras; holding it keeps other threads from creating or dropping programs.
    """

    def __init__(
        self, session: KerasSession | None = None, *, max_programs: int = MAX_PROGRAMS, max_bytes: int = MAX_BYTES
    ) -> None:
        self.session = KerasSession() if session is None else session
        self._max_programs = max_programs
        self._max_bytes = max_bytes
        self._programs: OrderedDict[tuple[str, bool], _Entry] = OrderedDict()

    def __len__(self) -> int:
        return len(self._programs)

    @property
    def architectures(self) -> tuple[str, ...]:
        """Names of the architectures that have a program, most recently used first."""
        with self.session.exclusive():
            return tuple(dict.fromkeys(architecture for architecture, _ in reversed(self._programs)))

    def has(self, plan: Plan) -> bool:
        """Whether there is a program for this plan."""
        return _key(plan) in self._programs

    def has_capacity_for(self, plan: Plan) -> bool:
        """Whether a program for this plan fits without dropping another one."""
        with self.session.exclusive():
            return self._fits(estimated_bytes(plan))

    def program_for(self, plan: Plan) -> Program:
        """Return the program of this plan's architecture and mark it as the most recently used.

        Creates it if there is none, and drops other programs until it fits. A new program is not compiled yet.
        """
        key, size = _key(plan), estimated_bytes(plan)
        with self.session.exclusive():
            if key in self._programs:
                self._programs.move_to_end(key)
                return self._programs[key].program
            while self._programs and not self._fits(size):
                self._programs.popitem(last=False)
                self.session.clear()
            program = Program(plan, self.session, xla=key[1])
            self._programs[key] = _Entry(program, size)
            return program

    def forget(self, plan: Plan) -> None:
        """Drop the program of a plan, if there is one: after a failed run, it may be incomplete."""
        with self.session.exclusive():
            self._programs.pop(_key(plan), None)
            self.session.clear()

    def _fits(self, size: int) -> bool:
        taken = sum(entry.bytes for entry in self._programs.values())
        return len(self._programs) < self._max_programs and taken + size <= self._max_bytes


def estimated_bytes(plan: Plan) -> int:
    """Estimate the memory of a program in bytes: the trace of each layer, and the variables of each distinct layer."""
    xla = worth_xla(plan)
    loops_from = LOOPS_IN_XLA if xla else LOOPS_IN_GRAPH
    stages = stages_of(plan)
    traced = sum(len(stage.block if stage.worth_loop(loops_from) else stage.nodes) for stage in stages)
    shapes = plan.network.shapes(plan.shape.input_shape)
    distinct = {}
    for node in (node for stage in stages for node in stage.nodes):
        inputs = tuple(shapes[name] for name in node.inputs)
        distinct[layer_key(node.layer), inputs] = sum(math.prod(shape) for _, shape in node.layer.variables(*inputs))
    variables = sum(distinct.values()) * bytes_per_value(plan.spec.training.precision)
    return traced * BYTES_PER_TRACED_LAYER * (2 if xla else 1) + variables


def _key(plan: Plan) -> tuple[str, bool]:
    return architecture_of(plan), worth_xla(plan)
