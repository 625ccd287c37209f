"""Families of seeded faults and of healthy controls: how one case of each is made."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from benchmarks.diagnosis.case import Case, Json

Make = Callable[["Draw"], "Made"]


@dataclass(frozen=True)
class Made:
    """The specs of a case, without seeds."""

    spec: Json
    twin: Json | None = None
    layers: tuple[str, ...] = ()  # names that are right for the one layer at fault

    @classmethod
    def of(cls, specs: Iterable[Json], *layers: str) -> "Made":
        """A fault's spec, then its twin's."""
        faulty, sound = specs
        return cls(faulty, sound, layers)


@dataclass(frozen=True)
class Draw:
    """What one case of a family is made from.

    A family has a few structures (networks, data, optimizers), so that compiled programs are used again; cases of one
    structure differ in their seeds, rates, scales and places.
    """

    place: int  # of its structure among its family's
    structure: np.random.Generator  # the same for all cases of the structure
    random: np.random.Generator  # the case's own

    def turn(self, choices: Sequence[Any]) -> Any:
        """Of the structure: each in turn, so that a family has all of them."""
        return choices[self.place % len(choices)]

    def one(self, choices: Sequence[Any]) -> Any:
        """Of the structure: any of them."""
        return choices[int(self.structure.integers(len(choices)))]

    def any(self, choices: Sequence[Any]) -> Any:
        """Of the case: any of them."""
        return choices[int(self.random.integers(len(choices)))]

    def uniform(self, low: float, high: float) -> float:
        """Between these, to four digits: a spec is read by people."""
        return float(f"{self.random.uniform(low, high):.4g}")

    def decades(self, low: float, high: float) -> float:
        """10 to the power of a number between these."""
        return float(f"{10 ** self.random.uniform(low, high):.4g}")

    def integer(self, low: int, high: int) -> int:
        """From `low` to `high`, both included."""
        return int(self.random.integers(low, high + 1))


@dataclass(frozen=True)
class Family:
    """Cases with one kind of fault, or with none."""

    name: str
    what: str  # the fault in words; of controls the shape
    make: Make
    symptoms: tuple[str, ...] = ()  # what the fault may be: the first that holds by outcome; none for controls
    right: frozenset[str] = frozenset()  # other symptoms that are a right answer to it
    tolerated: frozenset[str] = frozenset()  # symptoms that are no answer to it, and no error
    any_name: bool = False  # whether every symptom that holds by outcome is a right answer too
    weight: float = 1.0  # cases against those of other families

    @property
    def is_fault(self) -> bool:
        """Whether its cases have a fault."""
        return bool(self.symptoms)

    def case(self, number: int, draw: Draw) -> Case:
        """One of its cases, without a seed."""
        made = self.make(draw)
        return Case(self.name, number, made.spec, made.twin, made.layers)
