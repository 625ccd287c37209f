"""All cases of a part, deterministic in its seed."""

import zlib
from collections.abc import Iterator

import numpy as np

from benchmarks.diagnosis.case import Case, Part, seeded
from benchmarks.diagnosis.controls import CONTROLS
from benchmarks.diagnosis.family import Draw, Family
from benchmarks.diagnosis.gradient_faults import GRADIENT_FAULTS
from benchmarks.diagnosis.learning_faults import LEARNING_FAULTS
from benchmarks.diagnosis.unit_faults import UNIT_FAULTS

FAMILIES = (*GRADIENT_FAULTS, *UNIT_FAULTS, *LEARNING_FAULTS, *CONTROLS)
BY_NAME = {family.name: family for family in FAMILIES}
SEEDS_A_FAMILY = 1000
STRUCTURES = {Part.DEVELOPMENT: 5, Part.HELD_OUT: 8}  # of a family
# Cases of a family of weight 1, before the filter of `truth`.
CASES = {
    (Part.DEVELOPMENT, True): 10,
    (Part.DEVELOPMENT, False): 10,
    (Part.HELD_OUT, True): 26,
    (Part.HELD_OUT, False): 28,
}


def cases_of(part: Part) -> Iterator[Case]:
    """Family after family."""
    for place, family in enumerate(FAMILIES):
        for number in range(count_of(part, family)):
            yield case_of(part, place, number)


def count_of(part: Part, family: Family) -> int:
    """How many cases of a family are made."""
    return round(CASES[part, family.is_fault] * family.weight)


def place_of(family: str) -> int:
    """The place of a family among all."""
    return list(BY_NAME).index(family)


def case_of(part: Part, place: int, number: int) -> Case:
    """A case of the family in this place, whatever other cases there are."""
    family = FAMILIES[place]
    name, structure = zlib.crc32(family.name.encode()), number % STRUCTURES[part]
    shared, own = (np.random.default_rng([part.value, name, *key]) for key in ([structure], [structure, number]))
    first = 0 if part is Part.DEVELOPMENT else STRUCTURES[Part.DEVELOPMENT]
    case = family.case(number, Draw(first + structure, shared, own))
    return seeded(case, part.value + SEEDS_A_FAMILY * place + number)
