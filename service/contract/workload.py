"""How long a run is, by arithmetic alone, and the most that one may ask for."""

import math
from dataclasses import dataclass

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

from service.contract.data_spec import UploadData
from service.contract.spec import ExperimentSpec


class Limits(BaseSettings):
    """The most that one experiment, or one study, may ask for; `GRADFLOW_LIMIT_…` changes each."""

    model_config = SettingsConfigDict(env_prefix="GRADFLOW_LIMIT_", frozen=True)

    layers: int = Field(1_000, description="Hidden layers; of a network of one's own all layers.")
    parameters: int = Field(50_000_000, description="Trainable numbers.")
    batch_values: int = Field(2**29, description="Numbers that the forward pass of one batch makes.")
    steps: int = Field(1_000_000, description="Optimizer steps, all epochs together.")
    recorded_values: int = Field(64_000_000, description="Recorded rows times recorded steps; 4 bytes each.")
    study_experiments: int = Field(2_000, description="Experiments of one study.")
    study_bytes: int = Field(64 * 2**20, description="Bytes of the specs of all of them together.")
    data_bytes: int = Field(256 * 2**20, description="Bytes of the data set as float32.")


@dataclass(frozen=True)
class Workload:
    """The size of a run; the first rows train, the last ones validate."""

    train_rows: int
    validation_rows: int
    steps_per_epoch: int
    total_steps: int


def workload(spec: ExperimentSpec, samples: int) -> Workload:
    """Rows and steps of a run, cut as Keras cuts them (`validation_split` of `keras.Model.fit`) or as the data say."""
    data = spec.data
    train_rows = math.floor(samples * (1.0 - spec.training.validation_split))
    validation_rows = samples - train_rows
    if isinstance(data, UploadData) and (data.train_rows or data.validation_rows):
        train_rows = data.train_rows or max(0, samples - (data.validation_rows or 0))
        validation_rows = data.validation_rows or max(0, samples - train_rows)
    steps_per_epoch = math.ceil(train_rows / spec.training.batch_size)
    return Workload(train_rows, validation_rows, steps_per_epoch, steps_per_epoch * spec.training.epochs)
