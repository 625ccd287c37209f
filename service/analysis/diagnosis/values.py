"""Values of a diagnosis: symptoms, findings and remedies."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Literal

from service.contract.recording_spec import Statistic

PackName = Literal["gradflow", "sagemaker", "autotrainer", "deepdiagnosis"]
Severity = Literal["info", "warning", "critical"]
SEVERITIES: tuple[Severity, ...] = ("info", "warning", "critical")

NOT_EVALUATED = "not_evaluated"  # the verdict if no rule of a pack could be evaluated


class Symptom(StrEnum):
    """What may be wrong with a run, the most severe first; `healthy` if nothing is."""

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


_GRAVITY = {symptom: position for position, symptom in enumerate(Symptom)}


@dataclass(frozen=True)
class Remedy:
    """A change of the spec, and the reason why it should help."""

    change: Mapping[str, Any]  # dotted path in the spec -> new value
    reason: str


@dataclass(frozen=True)
class Finding:
    """One symptom: where and when it occurs, and the numbers that show it."""

    symptom: Symptom
    severity: Severity
    layers: tuple[str, ...]  # affected layers, from input to output; empty if the symptom concerns the whole run
    steps: tuple[int, int]  # the first and the last affected step
    rule: str
    observed: float  # always finite
    threshold: float  # what `observed` was compared with
    confidence: float  # 0 to 1, as docs/diagnosis.md defines it
    explanation: str
    remedies: tuple[Remedy, ...] = ()

    @property
    def gravity(self) -> tuple[int, int, float]:
        """Sort key of findings: the most severe first, by severity, symptom and confidence."""
        return -SEVERITIES.index(self.severity), _GRAVITY[self.symptom], -self.confidence


@dataclass(frozen=True)
class NotEvaluated:
    """A rule that could not be evaluated, in contrast to a rule that found nothing."""

    rule: str
    symptom: Symptom
    needs: tuple[Statistic, ...]  # statistics that would have to be recorded; empty if the reason is another
    reason: str


@dataclass(frozen=True)
class Diagnosis:
    """The result of a pack of rules for one run."""

    verdict: str  # symptom of the most severe finding, which may be `healthy`; or NOT_EVALUATED
    rules: str  # the name of the pack
    findings: tuple[Finding, ...]  # the most severe first
    not_evaluated: tuple[NotEvaluated, ...]
