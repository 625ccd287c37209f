"""The number of samples and steps of a run, and the limits of experiments and studies."""

import math
from dataclasses import dataclass

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

from service.contract.data_spec import UploadData
from service.contract.spec import ExperimentSpec


class Limits(BaseSettings):
    """Limits of one experiment or study. The environment variable `GRADFLOW_LIMIT_<NAME>` sets each."""

    model_config = SettingsConfigDict(env_prefix="GRADFLOW_LIMIT_", frozen=True)

    layers: int = Field(1_000, description="Hidden layers; for a model of kind keras all layers.")
    parameters: int = Field(50_000_000, description="Values in all variables.")
    batch_values: int = Field(2**29, description="Values that the forward pass of one batch keeps.")
    steps: int = Field(1_000_000, description="Optimizer steps of all epochs.")
    recorded_values: int = Field(64_000_000, description="Recorded steps times recorded values per step.")
    study_experiments: int = Field(2_000, description="Experiments of one study.")
    study_bytes: int = Field(64 * 2**20, description="Bytes of all specs of a study.")
    data_bytes: int = Field(256 * 2**20, description="Bytes of the data set in the precision of the run.")


@dataclass(frozen=True)
class Workload:
    """Samples and steps of a run. The first samples train, the last ones validate."""

    train_rows: int
    validation_rows: int
    steps_per_epoch: int
    total_steps: int


def workload(spec: ExperimentSpec, samples: int) -> Workload:
    """Return the samples and steps of a run.

    Samples are split as `validation_split` of `keras.Model.fit` splits them, unless the data name their own numbers.
    """
    data = spec.data
    train_rows = math.floor(samples * (1.0 - spec.training.validation_split))
    validation_rows = samples - train_rows
    if isinstance(data, UploadData) and (data.train_rows or data.validation_rows):
        train_rows = data.train_rows or max(0, samples - (data.validation_rows or 0))
        validation_rows = data.validation_rows or max(0, samples - train_rows)
    steps_per_epoch = math.ceil(train_rows / spec.training.batch_size)
    return Workload(train_rows, validation_rows, steps_per_epoch, steps_per_epoch * spec.training.epochs)
