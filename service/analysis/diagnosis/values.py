"""Values of a diagnosis: symptoms, findings and remedies."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, Any, Literal, get_args

from pydantic import ConfigDict, Field

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

    change: Annotated[
        Mapping[str, Any],
        Field(description="Dotted path in the spec -> new value, in the form of the axes of a study."),
    ]
    reason: str


@dataclass(frozen=True)
class Finding:
    """One symptom: where and when it occurs, and the numbers that show it."""

    symptom: Symptom
    severity: Severity
    layers: Annotated[
        tuple[str, ...],
        Field(description="Affected layers, from input to output; empty if the symptom concerns the whole run."),
    ]
    steps: Annotated[tuple[int, int], Field(description="The first and the last affected step.")]
    rule: str
    observed: Annotated[float, Field(description="The value that shows the symptom; always finite.")]
    threshold: Annotated[float, Field(description="What `observed` was compared with.")]
    # As docs/diagnosis.md defines it.
    confidence: Annotated[float, Field(ge=0, le=1, description="How sure the finding is.")]
    explanation: Annotated[
        str, Field(description="A sentence with numbers, which `gradients` and `metrics` give as well.")
    ]
    remedies: tuple[Remedy, ...] = ()

    __pydantic_config__ = ConfigDict(json_schema_serialization_defaults_required=True)

    @property
    def gravity(self) -> tuple[int, int, float]:
        """Sort key of findings: the most severe first, by severity, symptom and confidence."""
        return -SEVERITIES.index(self.severity), _GRAVITY[self.symptom], -self.confidence


@dataclass(frozen=True)
class NotEvaluated:
    """A rule that could not be evaluated, in contrast to a rule that found nothing."""

    rule: str
    symptom: Symptom
    needs: Annotated[
        tuple[Statistic, ...],
        Field(description="Statistics to add to `recording.statistics`; empty if the reason is another one."),
    ]
    reason: str


@dataclass(frozen=True)
class Diagnosis:
    """The result of a pack of rules for one run."""

    verdict: Annotated[
        str,
        Field(
            description="Symptom of the most severe finding, `healthy`, or `not_evaluated` if no rule was evaluated."
        ),
    ]
    rules: Annotated[str, Field(description="The pack.", json_schema_extra={"enum": [*get_args(PackName)]})]
    findings: Annotated[tuple[Finding, ...], Field(description="The most severe first.")]
    not_evaluated: tuple[NotEvaluated, ...]
