"""Compiled programs, kept for the next run of the same architecture; the least recently used is forgotten first."""

import gc
from collections import OrderedDict

import keras

from service.contract.architecture import architecture_of
from service.contract.plan import Plan
from worker.training.program import Program, pays_xla

# A program takes 10 to 20 MB of memory, whatever the depth (docs/benchmarks.md).
KEPT = 24


class Programs:
    """The programs of one training process."""

    def __init__(self, kept: int = KEPT) -> None:
        self._kept = kept
        self._programs: OrderedDict[tuple[str, bool], Program] = OrderedDict()

    def __len__(self) -> int:
        return len(self._programs)

    @property
    def architectures(self) -> tuple[str, ...]:
        """What there are programs of, the most recently used first."""
        return tuple(dict.fromkeys(architecture for architecture, _ in reversed(self._programs)))

    def has(self, plan: Plan) -> bool:
        """Whether there is a program for this plan."""
        return (architecture_of(plan), pays_xla(plan)) in self._programs

    def program_for(self, plan: Plan) -> Program:
        """The program of an earlier run of this plan's architecture, or a new one that has yet to be compiled."""
        key = (architecture_of(plan), pays_xla(plan))
        if key in self._programs:
            self._programs.move_to_end(key)
            return self._programs[key]
        while len(self._programs) >= self._kept:
            self._programs.popitem(last=False)
            _collect()
        program = self._programs[key] = Program(plan, xla=key[1])
        return program

    def forget(self, plan: Plan) -> None:
        """Drop the program of a plan: one whose run failed may be half made."""
        self._programs.pop((architecture_of(plan), pays_xla(plan)), None)
        _collect()


def _collect() -> None:
    """A traced program is a knot of cycles, and Keras remembers every layer that it made."""
    keras.backend.clear_session(free_memory=False)
    gc.collect()
