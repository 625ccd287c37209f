"""Which cases count, and as what: by outcome, before any rule has seen a run.

A fault is one where its run is clearly not sound and its twin clearly is, or has learnt clearly more. A control is
healthy where it has learnt and every measure is sound. Between sound and faulty lies a gap: what falls into it is
dropped, and counted.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from benchmarks.diagnosis.case import Case
from benchmarks.diagnosis.facts import Facts
from benchmarks.diagnosis.family import Family

LEARNS = {True: 0.5, False: 0.3}  # least skill of a healthy run, of classes and of numbers
BETTER = 0.2  # of skill, by which a twin learns clearly better
UNLEARNABLE = "random"  # the data whose labels have nothing to do with the inputs

# Faulty from here, and sound below: decades below or above the twin.
VANISHES, VANISHES_ALONE, SOUND_SMALLEST = 2.0, 3.0, 1.0  # alone: whatever has been learnt
EXPLODES, EXPLODES_ALONE, SOUND_LARGEST = 1.5, 3.0, 1.0
SPREAD, SOUND_SPREAD = 2.0, 1.5  # decades between a run's kernels
UNITS, SOUND_UNITS = 0.6, 0.4  # part of a layer that is dead or saturated
RISES, SOUND_RISES = 0.2, 0.1  # part of the epochs
OVERFITTED, SOUND_OVERFITTED = 0.3, 0.1  # of the trivial loss
LOSS_LEFT = 0.9  # of the loss of step 0
CLIPPED, SOUND_CLIPPED = 0.95, 0.5  # part of the steps


@dataclass(frozen=True)
class Pair:
    """A fault's run beside its twin."""

    run: Facts
    twin: Facts
    layers: tuple[str, ...]

    @property
    def learns_worse(self) -> bool:
        """Whether the twin has learnt clearly more."""
        return self.twin.skill - self.run.skill >= BETTER

    @property
    def decades_below(self) -> float:
        """Of the smallest gradient, in the first epoch; inf where it is 0."""
        return _apart(self.twin.smallest, self.run.smallest)

    @property
    def decades_above(self) -> float:
        """Of the largest gradient at any step."""
        return _apart(self.run.largest, self.twin.largest)

    def units(self, which: str) -> tuple[float, float]:
        """Part of the units that are `dead` or `saturated`: here and in the twin, of the layer or of the worst one."""

        def worst(facts: Facts) -> float:
            shares: Mapping[str, float] = getattr(facts, which)
            return max((shares.get(name, 0.0) for name in self.layers or shares), default=0.0)

        return worst(self.run), worst(self.twin)


def _apart(high: float, low: float) -> float:
    return high - low if math.isfinite(high) or math.isfinite(low) else 0.0


def _vanishes(pair: Pair) -> bool:
    throughout = _apart(pair.twin.smallest_throughout, pair.run.smallest_throughout)
    return throughout >= VANISHES_ALONE or (pair.decades_below >= VANISHES and pair.learns_worse)


def _explodes(pair: Pair) -> bool:
    larger = pair.decades_above >= EXPLODES
    uneven = pair.run.spread >= SPREAD and pair.twin.spread < SOUND_SPREAD
    return pair.decades_above >= EXPLODES_ALONE or larger + uneven + pair.learns_worse >= 2


def _units(which: str) -> Callable[[Pair], bool]:
    def share(pair: Pair) -> bool:
        here, there = pair.units(which)
        return here >= UNITS and there < SOUND_UNITS

    return share


CRITERIA: Mapping[str, Callable[[Pair], bool]] = {
    "vanishing": _vanishes,
    "exploding": _explodes,
    "dead_units": _units("dead"),
    "saturation": _units("saturated"),
    "diverged": lambda pair: pair.run.diverged and not pair.twin.diverged,
    "loss_not_decreasing": lambda pair: pair.learns_worse and not pair.run.loss_left < LOSS_LEFT,
    "oscillating_loss": lambda pair: pair.run.rises >= RISES and pair.twin.rises < SOUND_RISES,
    "slow_convergence": lambda pair: pair.learns_worse,
    "overfitting": lambda pair: (
        pair.run.overfitted >= OVERFITTED and pair.twin.overfitted < SOUND_OVERFITTED and pair.run.loss_left < 0.5
    ),
    "clipping_always_on": lambda pair: pair.run.clipped >= CLIPPED and pair.learns_worse,
}

# Not clearly sound: whoever reports this of a fault's run is not wrong, though it may not be what was seeded.
NOT_SOUND: Mapping[str, Callable[[Pair], bool]] = {
    "vanishing": lambda pair: pair.decades_below >= SOUND_SMALLEST or pair.run.spread >= SOUND_SPREAD,
    "exploding": lambda pair: pair.decades_above >= SOUND_LARGEST or pair.run.spread >= SOUND_SPREAD,
    "dead_units": lambda pair: pair.run.most_dead >= SOUND_UNITS,
    "saturation": lambda pair: pair.run.most_saturated >= SOUND_UNITS,
    "diverged": lambda pair: pair.run.diverged,
    "loss_not_decreasing": lambda pair: pair.run.skill < BETTER or not pair.run.loss_left < LOSS_LEFT,
    "oscillating_loss": lambda pair: pair.run.rises >= SOUND_RISES,
    "slow_convergence": lambda pair: pair.learns_worse,
    "overfitting": lambda pair: pair.run.overfitted >= SOUND_OVERFITTED,
    "clipping_always_on": lambda pair: pair.run.clipped >= SOUND_CLIPPED,
}


@dataclass(frozen=True)
class Truth:
    """What a diagnosis of a case is held against."""

    symptom: str | None  # "healthy" for controls; None: the case is dropped
    answers: tuple[str, ...]  # symptoms of which one is to be found
    tolerated: tuple[str, ...]  # symptoms that it is not wrong to report
    dropped: str | None = None  # why, in words


def truth_of_control(facts: Facts, classes: bool) -> Truth:
    """A control is healthy, or dropped."""
    unsound = [
        what
        for what, holds in (
            ("learns too little", facts.skill < LEARNS[classes]),
            ("diverges", facts.diverged),
            (f"its kernels are {SOUND_SPREAD} decades apart", not facts.spread < SOUND_SPREAD),
            ("has dead units", facts.most_dead >= SOUND_UNITS),
            ("has saturated units", facts.most_saturated >= SOUND_UNITS),
            ("its loss rises", facts.rises >= SOUND_RISES),
            ("overfits", facts.overfitted >= SOUND_OVERFITTED),
            ("is clipped at most steps", facts.clipped >= SOUND_CLIPPED),
        )
        if holds
    ]
    if unsound:
        return _dropped(unsound[0])
    return Truth("healthy", (), ())


def truth_of_fault(case: Case, family: Family, run: Facts, twin: Facts, learnable: bool, classes: bool) -> Truth:
    """A fault is what it was seeded to be, or dropped."""
    if learnable and twin.skill < LEARNS[classes]:
        return _dropped("its twin learns too little")
    if twin.diverged:
        return _dropped("its twin diverges")
    pair = Pair(run, twin, case.layers)
    symptom = next((name for name in family.symptoms if CRITERIA[name](pair)), None)
    if symptom is None:
        return _dropped("no worse than its twin")
    answers = family.right | {symptom}
    if family.any_name:
        answers |= {name for name, holds in CRITERIA.items() if holds(pair)}
    tolerated = family.tolerated | {name for name, holds in NOT_SOUND.items() if holds(pair)}
    return Truth(symptom, tuple(sorted(answers)), tuple(sorted(tolerated - answers)))


def _dropped(why: str) -> Truth:
    return Truth(None, (), (), why)
