"""All cases of a part; they depend only on the first seed of the part."""

import zlib
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from benchmarks.diagnosis.case import Case, Part, seeded
from benchmarks.diagnosis.controls import CONTROLS
from benchmarks.diagnosis.family import Draw, Family
from benchmarks.diagnosis.gradient_faults import GRADIENT_FAULTS
from benchmarks.diagnosis.learning_faults import LEARNING_FAULTS
from benchmarks.diagnosis.unit_faults import UNIT_FAULTS

FAMILIES = (*GRADIENT_FAULTS, *UNIT_FAULTS, *LEARNING_FAULTS, *CONTROLS)
BY_NAME = {family.name: family for family in FAMILIES}
SEEDS_PER_FAMILY = 1000
EXPLODING = frozenset(family.name for family in FAMILIES if "exploding" in family.symptoms)
NEAREST_TO_IT = frozenset({"batch_normalized", "residual", "deep", "converged", "tapered"})


@dataclass(frozen=True)
class Size:
    """The number of cases of a part, before `truth` drops some."""

    first_structure: int  # of a family; the structures of one part follow those of another
    structures: int
    faults: int  # cases of a family with weight 1
    controls: int
    families: frozenset[str] = frozenset(BY_NAME)


SIZES = {
    Part.DEVELOPMENT: Size(0, 5, 10, 10),
    Part.HELD_OUT: Size(5, 8, 26, 28),
    Part.SECOND_HELD_OUT: Size(13, 8, 26, 28),
    Part.SECOND_DEVELOPMENT: Size(21, 8, 16, 8, EXPLODING | NEAREST_TO_IT),
}


def cases_of(part: Part) -> Iterator[Case]:
    """Yield the cases family by family."""
    for index, family in enumerate(FAMILIES):
        for number in range(count_of(part, family)):
            yield case_of(part, index, number)


def count_of(part: Part, family: Family) -> int:
    """The number of cases of a family."""
    size = SIZES[part]
    if family.name not in size.families:
        return 0
    return round((size.faults if family.is_fault else size.controls) * family.weight)


def index_of(family: str) -> int:
    """The index of a family."""
    return list(BY_NAME).index(family)


def case_of(part: Part, index: int, number: int) -> Case:
    """A case of the family with this index; it does not depend on the other cases."""
    family, size = FAMILIES[index], SIZES[part]
    name, structure = zlib.crc32(family.name.encode()), number % size.structures
    shared, own = (np.random.default_rng([part.value, name, *key]) for key in ([structure], [structure, number]))
    case = family.case(number, Draw(size.first_structure + structure, shared, own))
    return seeded(case, part.value + SEEDS_PER_FAMILY * index + number)
