"""Scores a rule pack, per case and overall."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from scipy.stats import binomtest

from benchmarks.diagnosis.labeling import LabeledCase

HEALTHY = "healthy"
CONFIDENCE = 0.95


@dataclass(frozen=True)
class Answer:
    """The answer of a pack for a run."""

    verdict: str
    found: Mapping[str, frozenset[str]]  # reported symptom -> the layers that it names


@dataclass(frozen=True)
class Scored:
    """An answer compared with the true symptom."""

    case: LabeledCase
    answer: Answer
    neighbors: frozenset[str] = frozenset()  # layers with a kernel directly before and after the faulty one

    @property
    def symptom(self) -> str:
        """The true symptom."""
        return self.case.truth.symptom or ""

    @property
    def is_found(self) -> bool:
        """Whether a right answer is among the reported symptoms."""
        return bool(self.right)

    @property
    def is_false_alarm(self) -> bool:
        """Whether the pack reports a symptom for a healthy run."""
        return self.symptom == HEALTHY and bool(self.answer.found)

    @property
    def wrong(self) -> frozenset[str]:
        """The reported symptoms that are neither right nor tolerated."""
        return frozenset(self.answer.found) - {*self.case.truth.answers, *self.case.truth.tolerated}

    @property
    def names_layer(self) -> bool:
        """Whether the faulty layer is among the layers of a right answer."""
        return bool(self._layers & frozenset(self.case.layers))

    @property
    def names_layer_alone(self) -> bool:
        """Whether the layers of the right answers are only the faulty layer or its neighbors."""
        return bool(self._layers) and self._layers <= self.neighbors | frozenset(self.case.layers)

    @cached_property
    def right(self) -> frozenset[str]:
        """The reported symptoms that are right answers."""
        return frozenset(self.answer.found) & frozenset(self.case.truth.answers)

    @cached_property
    def _layers(self) -> frozenset[str]:
        return frozenset(layer for symptom in self.right for layer in self.answer.found[symptom])


@dataclass(frozen=True)
class Share:
    """A count and the number that it is a fraction of."""

    count: int
    of: int

    @property
    def value(self) -> float | None:
        """The fraction; None if the denominator is 0."""
        return self.count / self.of if self.of else None

    @property
    def interval(self) -> tuple[float, float] | None:
        """The 95 % interval of a binomial fraction (Wilson 1927)."""
        if not self.of:
            return None
        found = binomtest(self.count, self.of).proportion_ci(CONFIDENCE, method="wilson")
        return float(found.low), float(found.high)


@dataclass(frozen=True)
class SymptomScore:
    """Precision and recall of one symptom.

    Recall is the fraction of the faults with this symptom for which the pack gives a right answer. Precision is the
    fraction of right answers among the runs for which the pack reports the symptom, or another name under which it has
    found such faults. A rule that always fires therefore has full recall and low precision. Tolerated answers do not
    count.
    """

    precision: Share
    recall: Share

    @property
    def f1(self) -> float | None:
        """The harmonic mean of both; 0 if no fault is found, None if there is no fault."""
        precision, recall = self.precision.value, self.recall.value
        if recall is None:
            return None
        return 2 * precision * recall / (precision + recall) if precision and recall else 0.0


@dataclass(frozen=True)
class Score:
    """The score of one pack over all cases that were not dropped."""

    scored: Sequence[Scored]

    @cached_property
    def symptoms(self) -> Mapping[str, SymptomScore]:
        """The score of each symptom that is true of a case or reported for one."""
        true = Counter(each.symptom for each in self.scored if each.symptom != HEALTHY)
        names = [*true, *(name for each in self.scored for name in each.answer.found)]
        return {name: self._of(name) for name in dict.fromkeys(names)}

    @property
    def all_faults(self) -> Share:
        """Faults for which a right answer is reported."""
        faults = self._faults
        return Share(sum(each.is_found for each in faults), len(faults))

    @property
    def false_alarms(self) -> Share:
        """Healthy runs for which a symptom is reported."""
        healthy = [each for each in self.scored if each.symptom == HEALTHY]
        return Share(sum(each.is_false_alarm for each in healthy), len(healthy))

    @property
    def layers(self) -> Share:
        """Faults of one layer for which the faulty layer is named."""
        faults = self._in_one_layer
        return Share(sum(each.names_layer for each in faults), len(faults))

    @property
    def layers_alone(self) -> Share:
        """Faults of one layer for which only the faulty layer or its neighbors are named."""
        faults = self._in_one_layer
        return Share(sum(each.names_layer_alone for each in faults), len(faults))

    @property
    def confusion(self) -> Counter[tuple[str, str]]:
        """Number of runs by (true symptom, verdict)."""
        return Counter((each.symptom, each.answer.verdict) for each in self.scored)

    @property
    def misses(self) -> list[Scored]:
        """Faults that are not found, and healthy runs with a false alarm."""
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
