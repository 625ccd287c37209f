"""Determines the true symptom of each case from the outcome of its runs, before any rule evaluates them.

A case is a fault if its run is clearly not sound and its twin clearly is, or has learned clearly more. A control is
healthy if it has learned and every measure is sound. There is a gap between sound and faulty: cases in the gap are
dropped and counted.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from benchmarks.diagnosis.case import Case
from benchmarks.diagnosis.facts import Facts
from benchmarks.diagnosis.family import Family

LEARNS = {True: 0.5, False: 0.3}  # minimum skill of a healthy run, for classification and for regression
BETTER = 0.2  # difference in skill by which a twin has learned clearly more
UNLEARNABLE = "random"  # data whose labels do not depend on the inputs

# Limits from which a run is faulty, and (SOUND) below which it is sound. The first two lines: decades from the twin.
VANISHES, VANISHES_ALONE, SOUND_SMALLEST = 2.0, 3.0, 1.0  # ALONE: faulty even if it has learned as much as its twin
EXPLODES, EXPLODES_ALONE, SOUND_LARGEST = 1.5, 3.0, 1.0
SPREAD, SOUND_SPREAD = 2.0, 1.5  # decades between a run's kernels
UNITS, SOUND_UNITS = 0.6, 0.4  # fraction of a layer that is dead or saturated
RISES, SOUND_RISES = 0.2, 0.1  # fraction of the epochs
OVERFITTED, SOUND_OVERFITTED = 0.3, 0.1  # relative to the trivial loss
LOSS_LEFT = 0.9  # relative to the loss of step 0
CLIPPED, SOUND_CLIPPED = 0.95, 0.5  # fraction of the steps


@dataclass(frozen=True)
class Pair:
    """The measures of a faulty run and of its twin."""

    run: Facts
    twin: Facts
    layers: tuple[str, ...]

    @property
    def learns_worse(self) -> bool:
        """Whether the twin has learned clearly more."""
        return self.twin.skill - self.run.skill >= BETTER

    @property
    def decades_below(self) -> float:
        """Decades by which the smallest gradient of the first epoch is below the twin's; inf if it is 0."""
        return _decades_between(self.twin.smallest, self.run.smallest)

    @property
    def decades_above(self) -> float:
        """Decades by which the largest gradient of any step is above the twin's."""
        return _decades_between(self.run.largest, self.twin.largest)

    def units(self, which: str) -> tuple[float, float]:
        """Fraction of `dead` or `saturated` units in this run and in the twin, in the faulty layer or the worst one."""

        def worst(facts: Facts) -> float:
            shares: Mapping[str, float] = getattr(facts, which)
            return max((shares.get(name, 0.0) for name in self.layers or shares), default=0.0)

        return worst(self.run), worst(self.twin)


def _decades_between(high: float, low: float) -> float:
    return high - low if math.isfinite(high) or math.isfinite(low) else 0.0


def _vanishes(pair: Pair) -> bool:
    throughout = _decades_between(pair.twin.smallest_throughout, pair.run.smallest_throughout)
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

# Not clearly sound: reporting this symptom for the run of a fault is not wrong, even if another one was seeded.
NOT_SOUND: Mapping[str, Callable[[Pair], bool]] = {
    "vanishing": lambda pair: pair.decades_below >= SOUND_SMALLEST or pair.run.spread >= SOUND_SPREAD,
    "exploding": lambda pair: pair.decades_above >= SOUND_LARGEST or pair.run.spread >= SOUND_SPREAD,
    "dead_units": lambda pair: pair.run.max_dead >= SOUND_UNITS,
    "saturation": lambda pair: pair.run.max_saturated >= SOUND_UNITS,
    "diverged": lambda pair: pair.run.diverged,
    "loss_not_decreasing": lambda pair: pair.run.skill < BETTER or not pair.run.loss_left < LOSS_LEFT,
    "oscillating_loss": lambda pair: pair.run.rises >= SOUND_RISES,
    "slow_convergence": lambda pair: pair.learns_worse,
    "overfitting": lambda pair: pair.run.overfitted >= SOUND_OVERFITTED,
    "clipping_always_on": lambda pair: pair.run.clipped >= SOUND_CLIPPED,
}


@dataclass(frozen=True)
class Truth:
    """The true symptom of a case, and the answers that count as right."""

    symptom: str | None  # "healthy" for controls; None if the case is dropped
    answers: tuple[str, ...]  # symptoms of which a pack must report one
    tolerated: tuple[str, ...]  # symptoms that count neither as right nor as wrong
    dropped: str | None = None  # reason in words


def truth_of_control(facts: Facts, classes: bool) -> Truth:
    """The truth of a control: healthy or dropped."""
    unsound = [
        what
        for what, holds in (
            ("learns too little", facts.skill < LEARNS[classes]),
            ("diverges", facts.diverged),
            (f"its kernels are {SOUND_SPREAD} decades apart", not facts.spread < SOUND_SPREAD),
            ("has dead units", facts.max_dead >= SOUND_UNITS),
            ("has saturated units", facts.max_saturated >= SOUND_UNITS),
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
    """The truth of a fault: a symptom of its family or dropped."""
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
