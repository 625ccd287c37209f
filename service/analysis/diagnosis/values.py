"""What a diagnosis says: symptoms, findings and remedies."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Literal

from service.contract.recording_spec import Statistic

PackName = Literal["gradflow", "sagemaker", "autotrainer", "deepdiagnosis"]
Severity = Literal["info", "warning", "critical"]
SEVERITIES: tuple[Severity, ...] = ("info", "warning", "critical")

NOT_EVALUATED = "not_evaluated"  # the verdict where no rule of a pack had anything to go by


class Symptom(StrEnum):
    """What may be wrong with a run, the gravest first, and what is said where nothing is."""

    DIVERGED = "diverged"
    EXPLODING = "exploding"
    VANISHING = "vanishing"
    DEAD_UNITS = "dead_units"
    SATURATION = "saturation"
    POOR_INITIALIZATION = "poor_initialization"
    LOSS_NOT_DECREASING = "loss_not_decreasing"
    OSCILLATING_LOSS = "oscillating_loss"
    UPDATE_RATIO_OUT_OF_RANGE = "update_ratio_out_of_range"
    SLOW_CONVERGENCE = "slow_convergence"
    OVERFITTING = "overfitting"
    CLIPPING_ALWAYS_ON = "clipping_always_on"
    HEALTHY = "healthy"


_GRAVITY = {symptom: place for place, symptom in enumerate(Symptom)}


@dataclass(frozen=True)
class Remedy:
    """A change of the spec, and why it should help."""

    change: Mapping[str, Any]  # dotted path in the spec -> value
    reason: str


@dataclass(frozen=True)
class Finding:
    """One symptom, where and when it was seen, and the numbers that it rests on."""

    symptom: Symptom
    severity: Severity
    layers: tuple[str, ...]  # those concerned, from input to output; none where it is of the whole run
    steps: tuple[int, int]  # the first and the last one concerned
    rule: str
    observed: float  # finite
    threshold: float  # what `observed` was compared with
    confidence: float  # 0 to 1, as docs/diagnosis.md defines it
    explanation: str
    remedies: tuple[Remedy, ...] = ()

    @property
    def gravity(self) -> tuple[int, int, float]:
        """Orders findings, the gravest first."""
        return -SEVERITIES.index(self.severity), _GRAVITY[self.symptom], -self.confidence


@dataclass(frozen=True)
class NotEvaluated:
    """A rule that had nothing to go by, which is not the same as a rule that found nothing."""

    rule: str
    symptom: Symptom
    needs: tuple[Statistic, ...]  # to be recorded; none where the reason is another
    reason: str


@dataclass(frozen=True)
class Diagnosis:
    """What a pack of rules says of a run."""

    verdict: str  # the gravest finding's symptom, `healthy`, or NOT_EVALUATED
    rules: str  # the name of the pack
    findings: tuple[Finding, ...]  # the gravest first
    not_evaluated: tuple[NotEvaluated, ...]
