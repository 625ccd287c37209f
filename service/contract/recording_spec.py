"""Which statistics of a run are recorded, and how often."""

from enum import StrEnum
from typing import Annotated

from pydantic import Field, field_validator

from service.contract.spec_part import MAX_INTEGER, SpecPart


class Statistic(StrEnum):
    """A statistic per step and variable or activation; docs/statistics.md has the definitions."""

    GRADIENT_NORM = "gradient_norm"
    GRADIENT_RMS = "gradient_rms"
    CLIPPED_NORM = "clipped_norm"
    UPDATE_RATIO = "update_ratio"
    WEIGHT_NORM = "weight_norm"
    ZERO_FRACTION = "zero_fraction"
    NONFINITE_COUNT = "nonfinite_count"
    MEAN_ABS_GRADIENT = "mean_abs_gradient"
    WEIGHT_VARIANCE = "weight_variance"
    ACTIVATION_MEAN = "activation_mean"
    ACTIVATION_STD = "activation_std"
    SATURATED_FRACTION = "saturated_fraction"
    DEAD_FRACTION = "dead_fraction"
    FRACTION_BEYOND_SAGEMAKER = "fraction_beyond_sagemaker"
    FRACTION_BEYOND_DEEPDIAGNOSIS = "fraction_beyond_deepdiagnosis"
    FRACTION_NOT_POSITIVE = "fraction_not_positive"
    INACTIVE_UNITS = "inactive_units"

    @property
    def of_activations(self) -> bool:
        """Whether there is one value per hidden activation instead of one per variable."""
        return self in ACTIVATION_STATISTICS

    @property
    def stored(self) -> bool:
        """Whether the statistic is stored; gradient_rms is computed from gradient_norm when it is read."""
        return self is not Statistic.GRADIENT_RMS


ACTIVATION_STATISTICS = frozenset(
    {
        Statistic.ACTIVATION_MEAN,
        Statistic.ACTIVATION_STD,
        Statistic.SATURATED_FRACTION,
        Statistic.DEAD_FRACTION,
        Statistic.FRACTION_BEYOND_SAGEMAKER,
        Statistic.FRACTION_BEYOND_DEEPDIAGNOSIS,
        Statistic.FRACTION_NOT_POSITIVE,
        Statistic.INACTIVE_UNITS,
    }
)


class RecordingSpec(SpecPart):
    """Gradient norms are always recorded, other statistics only if named."""

    every: int = Field(1, ge=1, le=MAX_INTEGER, description="Record step 0 and then every n-th step.")
    statistics: Annotated[
        tuple[Annotated[Statistic, Field(strict=False)], ...], Field(strict=False, max_length=len(Statistic))
    ] = (Statistic.GRADIENT_NORM,)
    keep_model: bool = Field(False, description="Keep the trained model, for `GET /v1/experiments/{id}/model`.")

    @field_validator("statistics")
    @classmethod
    def _complete(cls, statistics: tuple[Statistic, ...]) -> tuple[Statistic, ...]:
        chosen = {Statistic.GRADIENT_NORM, *statistics}
        return tuple(s for s in Statistic if s in chosen)
