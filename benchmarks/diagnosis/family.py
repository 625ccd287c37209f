"""Families of seeded faults and of healthy controls, and how they create their cases."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from benchmarks.diagnosis.case import Case, Json

Make = Callable[["Draw"], "Specs"]


@dataclass(frozen=True)
class Specs:
    """The specs of a case, without seeds."""

    spec: Json
    twin: Json | None = None
    layers: tuple[str, ...] = ()  # names that are right for the faulty layer

    @classmethod
    def of(cls, specs: Iterable[Json], *layers: str) -> "Specs":
        """A case from two specs: that of the fault, then that of the twin."""
        faulty, sound = specs
        return cls(faulty, sound, layers)


@dataclass(frozen=True)
class Draw:
    """The random choices of one case of a family.

    A family has a few structures (network, data, optimizer), so that cases share compiled programs. Cases of one
    structure differ in their seeds, learning rates, scales and in the position of the faulty layer.
    """

    index: int  # index of the structure within its family
    structure: np.random.Generator  # gives the same choices for all cases of the structure
    random: np.random.Generator  # gives different choices for each case

    def turn(self, choices: Sequence[Any]) -> Any:
        """Choose by the index of the structure, so that a family uses all choices."""
        return choices[self.index % len(choices)]

    def one(self, choices: Sequence[Any]) -> Any:
        """Choose at random for the structure."""
        return choices[int(self.structure.integers(len(choices)))]

    def any(self, choices: Sequence[Any]) -> Any:
        """Choose at random for the case."""
        return choices[int(self.random.integers(len(choices)))]

    def uniform(self, low: float, high: float) -> float:
        """A uniform random number for the case, with four digits so that specs are readable."""
        return float(f"{self.random.uniform(low, high):.4g}")

    def decades(self, low: float, high: float) -> float:
        """10 to the power of a uniform random number for the case."""
        return float(f"{10 ** self.random.uniform(low, high):.4g}")

    def integer(self, low: int, high: int) -> int:
        """A random integer for the case, from `low` to `high` inclusive."""
        return int(self.random.integers(low, high + 1))


@dataclass(frozen=True)
class Family:
    """Cases with the same kind of fault, or healthy controls of the same kind."""

    name: str
    what: str  # the fault, or the kind of control, in words
    make: Make
    symptoms: tuple[str, ...] = ()  # possible true symptoms, of which the first that holds is taken; empty for controls
    right: frozenset[str] = frozenset()  # other symptoms that are right answers
    tolerated: frozenset[str] = frozenset()  # symptoms that count neither as right nor as wrong
    any_name: bool = False  # whether every symptom whose criterion holds is a right answer too
    weight: float = 1.0  # number of cases relative to other families

    @property
    def is_fault(self) -> bool:
        """Whether its cases have a fault."""
        return bool(self.symptoms)

    def case(self, number: int, draw: Draw) -> Case:
        """Create a case, without its seed."""
        made = self.make(draw)
        return Case(self.name, number, made.spec, made.twin, made.layers)
