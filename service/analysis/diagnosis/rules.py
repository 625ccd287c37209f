"""Rules, and packs of them: each rule finds something, finds nothing, or had nothing to go by."""

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

WIDEST = np.finfo(np.float64).max


class NotJudged(Exception):
    """A rule has nothing to go by; the message says why, `needs` what would have to be recorded."""

    def __init__(self, reason: str, *needs: Statistic) -> None:
        super().__init__(reason)
        self.needs = needs


@dataclass(frozen=True)
class Rule:
    """One question to a run; `judge` may raise NotJudged."""

    name: str
    symptom: Symptom
    judge: Callable[["Rule", Evidence], Iterable[Finding]]
    needs: tuple[Statistic, ...] = ()

    def findings(self, evidence: Evidence) -> tuple[Finding, ...]:
        """What it finds in a run.

        Raises:
            NotJudged: it has nothing to go by.
        """
        missing = tuple(statistic for statistic in self.needs if statistic not in evidence.series)
        if missing:
            raise NotJudged(f"not recorded: {', '.join(missing)}", *missing)
        if len(evidence.steps) == 0:
            raise NotJudged("no step has been recorded yet")
        return tuple(self.judge(self, evidence))

    def found(
        self,
        severity: Severity,
        *,
        layers: tuple[str, ...] = (),
        steps: tuple[int, int],
        observed: float | np.floating,
        threshold: float,
        explanation: str,
        confidence: float = 1.0,
        remedies: tuple[Remedy, ...] = (),
    ) -> Finding:
        """A finding of this rule."""
        return Finding(
            self.symptom,
            severity,
            layers,
            steps,
            self.name,
            float(np.clip(observed, -WIDEST, WIDEST)),
            float(threshold),
            float(confidence),
            explanation,
            remedies,
        )


def pack(
    name: str, rules: Sequence[Rule], healthy: Callable[[Evidence, int], Finding]
) -> Callable[[Evidence], Diagnosis]:
    """A diagnosis by these rules; `healthy` makes the finding where none of so many rules found anything."""

    def diagnosed(evidence: Evidence) -> Diagnosis:
        findings: list[Finding] = []
        unjudged: list[NotEvaluated] = []
        with np.errstate(all="ignore"):  # runs that diverge hold anything
            for rule in rules:
                try:
                    findings += rule.findings(evidence)
                except NotJudged as why:
                    unjudged.append(NotEvaluated(rule.name, rule.symptom, why.needs, str(why)))
        judged = len(rules) - len(unjudged)
        if not findings and judged:
            findings.append(healthy(evidence, judged))
        findings.sort(key=lambda finding: finding.gravity)
        verdict = findings[0].symptom.value if findings else NOT_EVALUATED
        return Diagnosis(verdict, name, tuple(findings), tuple(unjudged))

    return diagnosed


def no_objection(evidence: Evidence, judged: int) -> Finding:
    """What a pack that only looks for faults says where it finds none."""
    return Finding(
        Symptom.HEALTHY,
        "info",
        (),
        whole(evidence),
        "no_objection",
        observed=0.0,
        threshold=1.0,
        confidence=1.0,
        explanation=f"{judged} rules had what they need, and none of them found anything.",
    )


def whole(evidence: Evidence) -> tuple[int, int]:
    """The first and the last recorded step."""
    return int(evidence.steps[0]), int(evidence.steps[-1])


def spotted(
    evidence: Evidence, rows: Rows, mask: Bools, at: npt.NDArray[np.int64] | None = None
) -> tuple[tuple[str, ...], tuple[int, int]] | None:
    """The layers and the steps where `mask` is set; None where it is nowhere.

    It is [rows, recorded steps], or [rows, len(at)] of the recorded steps of these indices.
    """
    seen = np.flatnonzero(mask.any(axis=0)) if at is None else at[mask.any(axis=0)]
    if not len(seen):
        return None
    return rows.layers(mask.any(axis=1)), (int(evidence.steps[seen[0]]), int(evidence.steps[seen[-1]]))
