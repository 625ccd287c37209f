"""Rules, and packs of rules."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from service.analysis.diagnosis.evidence import Bools, Evidence, Rows
from service.analysis.diagnosis.values import (
    NOT_EVALUATED,
    Diagnosis,
    Finding,
    NotEvaluated,
    Remedy,
    Severity,
    Symptom,
)
from service.contract.recording_spec import Statistic

MAX_FLOAT = np.finfo(np.float64).max


class CannotEvaluate(Exception):
    """A rule lacks what it needs; the message gives the reason, `needs` the statistics that were not recorded."""

    def __init__(self, reason: str, *needs: Statistic) -> None:
        super().__init__(reason)
        self.needs = needs


@dataclass(frozen=True)
class Rule:
    """One question about a run."""

    name: str  # public, and listed in docs/diagnosis.md
    symptom: Symptom
    evaluate: Callable[["Rule", Evidence], Iterable[Finding]]  # may raise CannotEvaluate
    needs: tuple[Statistic, ...] = ()  # statistics that must be recorded

    def findings(self, evidence: Evidence) -> tuple[Finding, ...]:
        """Evaluate the rule.

        Raises:
            CannotEvaluate: a statistic was not recorded, no step was recorded, or the rule itself lacks something.
        """
        missing = tuple(statistic for statistic in self.needs if statistic not in evidence.series)
        if missing:
            raise CannotEvaluate(f"not recorded: {', '.join(missing)}", *missing)
        if len(evidence.steps) == 0:
            raise CannotEvaluate("no step has been recorded yet")
        return tuple(self.evaluate(self, evidence))

    def found(
        self,
        severity: Severity,
        steps: tuple[int, int],
        layers: tuple[str, ...] = (),
        *,
        observed: float | np.floating,
        threshold: float,
        explanation: str,
        confidence: float = 1.0,
        remedies: tuple[Remedy, ...] = (),
    ) -> Finding:
        """A finding with the name and symptom of this rule; `observed` is clipped to finite numbers."""
        return Finding(
            self.symptom,
            severity,
            layers,
            steps,
            self.name,
            float(np.clip(observed, -MAX_FLOAT, MAX_FLOAT)),
            float(threshold),
            float(confidence),
            explanation,
            remedies,
        )


def pack(
    name: str, rules: Sequence[Rule], healthy: Callable[[Evidence, int], Finding]
) -> Callable[[Evidence], Diagnosis]:
    """A function that diagnoses a run by these rules.

    Args:
        name: name of the pack.
        rules: its rules.
        healthy: makes the finding of a run in which no rule found anything, from the evidence and the number of rules
            that were evaluated.
    """

    def diagnosed(evidence: Evidence) -> Diagnosis:
        findings: list[Finding] = []
        not_evaluated: list[NotEvaluated] = []
        with np.errstate(all="ignore"):  # diverged runs contain nonfinite and huge values
            for rule in rules:
                try:
                    findings += rule.findings(evidence)
                except CannotEvaluate as why:
                    not_evaluated.append(NotEvaluated(rule.name, rule.symptom, why.needs, str(why)))
        evaluated = len(rules) - len(not_evaluated)
        if not findings and evaluated:
            findings.append(healthy(evidence, evaluated))
        findings.sort(key=lambda finding: finding.gravity)
        verdict = findings[0].symptom.value if findings else NOT_EVALUATED
        return Diagnosis(verdict, name, tuple(findings), tuple(not_evaluated))

    return diagnosed


def no_objection(evidence: Evidence, evaluated: int) -> Finding:
    """The finding of a pack that only detects faults, for a run in which it finds none."""
    return Finding(
        Symptom.HEALTHY,
        "info",
        (),
        recorded_range(evidence),
        "no_objection",
        observed=0.0,
        threshold=1.0,
        confidence=1.0,
        explanation=f"{evaluated} rules could be evaluated, and none of them found a fault.",
    )


def recorded_range(evidence: Evidence) -> tuple[int, int]:
    """The first and the last recorded step."""
    return int(evidence.steps[0]), int(evidence.steps[-1])


def affected(
    evidence: Evidence, rows: Rows, mask: Bools, at: npt.NDArray[np.int64] | None = None
) -> tuple[tuple[int, int], tuple[str, ...]] | None:
    """The range of steps and the layers at which a mask is set.

    Args:
        evidence: the run.
        rows: the statistic that the mask was computed from.
        mask: [variables, recorded steps], or [variables, len(at)].
        at: indices of recorded steps, if the mask covers only these.

    Returns:
        The first and the last step, and names of layers; None if the mask is set nowhere.
    """
    indices = np.flatnonzero(mask.any(axis=0)) if at is None else at[mask.any(axis=0)]
    if not len(indices):
        return None
    steps = int(evidence.steps[indices[0]]), int(evidence.steps[indices[-1]])
    return steps, rows.layers(mask.any(axis=1))
