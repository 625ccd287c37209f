"""How right a rule pack is, case by case and in all."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from scipy.stats import binomtest

from benchmarks.diagnosis.judging import Judged

HEALTHY = "healthy"
CONFIDENCE = 0.95


@dataclass(frozen=True)
class Answer:
    """What a pack says of a run."""

    verdict: str
    found: Mapping[str, frozenset[str]]  # each symptom that it reports -> the layers that it names with it


@dataclass(frozen=True)
class Scored:
    """An answer held against the truth."""

    case: Judged
    answer: Answer
    neighbors: frozenset[str] = frozenset()  # the layers with a kernel next to the one at fault

    @property
    def symptom(self) -> str:
        """The truth."""
        return self.case.truth.symptom or ""

    @property
    def is_found(self) -> bool:
        """Whether one of the right answers to a fault is among what is reported."""
        return bool(self.right)

    @property
    def is_false_alarm(self) -> bool:
        """Whether something is reported of a healthy run."""
        return self.symptom == HEALTHY and bool(self.answer.found)

    @property
    def wrong(self) -> frozenset[str]:
        """What is reported and is neither right nor tolerated."""
        return frozenset(self.answer.found) - {*self.case.truth.answers, *self.case.truth.tolerated}

    @property
    def names_layer(self) -> bool:
        """Whether the layer at fault is among those named with a right answer."""
        return bool(self._layers & frozenset(self.case.layers))

    @property
    def names_layer_alone(self) -> bool:
        """Whether nothing is named but the layer at fault or, of those with a kernel, one next to it."""
        return bool(self._layers) and self._layers <= self.neighbors | frozenset(self.case.layers)

    @cached_property
    def right(self) -> frozenset[str]:
        """What is reported and is a right answer."""
        return frozenset(self.answer.found) & frozenset(self.case.truth.answers)

    @cached_property
    def _layers(self) -> frozenset[str]:
        return frozenset(layer for symptom in self.right for layer in self.answer.found[symptom])


@dataclass(frozen=True)
class Share:
    """So many of so many."""

    count: int
    of: int

    @property
    def value(self) -> float | None:
        """The share; None of nothing."""
        return self.count / self.of if self.of else None

    @property
    def interval(self) -> tuple[float, float] | None:
        """95 % interval of a binomial share (Wilson 1927)."""
        if not self.of:
            return None
        found = binomtest(self.count, self.of).proportion_ci(CONFIDENCE, method="wilson")
        return float(found.low), float(found.high)


@dataclass(frozen=True)
class SymptomScore:
    """Of one symptom.

    Recall is over the faults that are this symptom: the part to which the pack gives a right answer. Precision is over
    the runs of which the pack reports the symptom, or another name under which it has found such faults: the part of
    which that is right. So a rule that fires everywhere finds everything, at its price. What is not right but
    tolerated does not count.
    """

    precision: Share
    recall: Share

    @property
    def f1(self) -> float | None:
        """Harmonic mean of the two; 0 where nothing is found, None where there is nothing to find."""
        precision, recall = self.precision.value, self.recall.value
        if recall is None:
            return None
        return 2 * precision * recall / (precision + recall) if precision and recall else 0.0


@dataclass(frozen=True)
class Score:
    """Of one pack over all cases that count."""

    scored: Sequence[Scored]

    @cached_property
    def symptoms(self) -> Mapping[str, SymptomScore]:
        """Each that is the truth of a case, or is reported of one."""
        true = Counter(each.symptom for each in self.scored if each.symptom != HEALTHY)
        names = [*true, *(name for each in self.scored for name in each.answer.found)]
        return {name: self._of(name) for name in dict.fromkeys(names)}

    @property
    def all_faults(self) -> Share:
        """Faults of which anything right is reported."""
        faults = self._faults
        return Share(sum(each.is_found for each in faults), len(faults))

    @property
    def false_alarms(self) -> Share:
        """Healthy runs of which anything is reported."""
        healthy = [each for each in self.scored if each.symptom == HEALTHY]
        return Share(sum(each.is_false_alarm for each in healthy), len(healthy))

    @property
    def layers(self) -> Share:
        """Faults of one layer where it is among those named."""
        faults = self._in_one_layer
        return Share(sum(each.names_layer for each in faults), len(faults))

    @property
    def layers_alone(self) -> Share:
        """Faults of one layer where nothing but it, or one next to it, is named."""
        faults = self._in_one_layer
        return Share(sum(each.names_layer_alone for each in faults), len(faults))

    @property
    def confusion(self) -> Counter[tuple[str, str]]:
        """(true symptom, verdict) -> runs."""
        return Counter((each.symptom, each.answer.verdict) for each in self.scored)

    @property
    def misses(self) -> list[Scored]:
        """Faults that are not found, and healthy runs that are not left alone."""
        return [each for each in self.scored if each.is_false_alarm or (each.symptom != HEALTHY and not each.is_found)]

    @property
    def _faults(self) -> list[Scored]:
        return [each for each in self.scored if each.symptom != HEALTHY]

    @property
    def _in_one_layer(self) -> list[Scored]:
        return [each for each in self._faults if each.case.layers]

    def _of(self, symptom: str) -> SymptomScore:
        true = [each for each in self.scored if each.symptom == symptom]
        names = {symptom}.union(*(each.right for each in true))
        right = sum(bool(names & each.right) for each in self.scored)
        wrong = sum(bool(names & each.wrong and not names & each.right) for each in self.scored)
        return SymptomScore(Share(right, right + wrong), Share(sum(each.is_found for each in true), len(true)))
