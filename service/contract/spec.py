"""The spec of an experiment. A resolved spec has no open defaults."""

from typing import Annotated

from pydantic import AfterValidator, ConfigDict, Field, model_validator

from service.contract.data_spec import DataSpec, RandomData
from service.contract.model_spec import Mlp, ModelSpec
from service.contract.recording_spec import RecordingSpec, Statistic
from service.contract.spec_part import SpecPart
from service.contract.training_spec import TrainingSpec

Tags = Annotated[
    tuple[Annotated[str, Field(min_length=1, max_length=60)], ...],
    Field(strict=False, max_length=16),
    AfterValidator(lambda tags: tuple(dict.fromkeys(tags))),  # without repetitions
]


class ExperimentSpec(SpecPart):
    """One training run. A stored spec that is posted again gives the same bytes on the same kind of device."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"model": "baseline"},
                {
                    "name": "digits, four residual layers",
                    "model": {"kind": "mlp", "depth": 4, "activation": "elu", "residual": "post_activation"},
                    "data": {"source": "digits", "scale": "standard"},
                    "training": {"epochs": 20, "gradient_clipping": {"by": "norm", "threshold": 1.0}},
                },
            ]
        }
    )

    name: str | None = Field(None, max_length=120)
    tags: Tags = ()
    model: ModelSpec
    data: DataSpec = Field(default_factory=RandomData)
    training: TrainingSpec = Field(default_factory=TrainingSpec)
    recording: RecordingSpec = Field(default_factory=RecordingSpec)

    @model_validator(mode="after")
    def _check_clipped_norm(self) -> "ExperimentSpec":
        if self.training.gradient_clipping is None and Statistic.CLIPPED_NORM in self.recording.statistics:
            raise ValueError("recording.statistics: clipped_norm needs training.gradient_clipping")
        return self

    def resolved(self) -> "ExperimentSpec":
        """Return the same spec with every default written out."""
        data, model, recording = self.data, self.model, self.recording
        if data.seed is None:
            data = data.model_copy(update={"seed": self.training.seed})
        if isinstance(model, Mlp):
            model = model.resolved()
        if self.training.gradient_clipping is not None:  # norms before and after clipping are both recorded
            chosen = {*recording.statistics, Statistic.CLIPPED_NORM}
            recording = recording.model_copy(update={"statistics": tuple(s for s in Statistic if s in chosen)})
        return self.model_copy(update={"data": data, "model": model, "recording": recording})
