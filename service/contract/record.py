"""The record of an experiment, and its states.

queued ──▶ running ──▶ succeeded
  │ ▲         │ ├────▶ failed
  │ └─resume──┘ └────▶ cancelled
  └──────────────────▶ cancelled
"""

from datetime import datetime
from enum import StrEnum

from pydantic import BaseModel, ConfigDict, Field

from service.contract.data_spec import DataShape
from service.contract.spec import ExperimentSpec


class Status(StrEnum):
    """The status of an experiment."""

    QUEUED = "queued"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def ended(self) -> bool:
        """Whether the status is final."""
        return self in (Status.SUCCEEDED, Status.FAILED, Status.CANCELLED)


class _Value(BaseModel):
    model_config = ConfigDict(frozen=True)


class Progress(_Value):
    """Progress of a run."""

    step: int = Field(0, description="Optimizer steps recorded so far.")
    total_steps: int
    epoch: int = Field(0, description="Epochs completed.")
    epochs: int


class Outcome(_Value):
    """The metrics of the last completed epoch; NaN and infinity are null in JSON."""

    loss: float | None = None
    accuracy: float | None = None
    mse: float | None = Field(None, description="For regression, which has no accuracy.")
    mae: float | None = None
    val_loss: float | None = None
    val_accuracy: float | None = None
    val_mse: float | None = None
    val_mae: float | None = None
    diverged_at_step: int | None = Field(None, description="First step whose loss or gradient was NaN or infinite.")
    stopped_early: bool = Field(False, description="Whether `training.early_stopping` ended the run.")


class Timing(_Value):
    """Measured seconds."""

    queued_s: float | None = Field(None, description="From submission to the claim by a worker.")
    prepare_s: float | None = Field(None, description="Data loaded and network built.")
    compile_s: float | None = Field(None, description="The training step traced and compiled.")
    train_s: float | None = Field(None, description="Steps and validation.")
    store_s: float | None = Field(None, description="Packing and writing history and checkpoints.")
    resume_s: float = Field(
        0.0, description="From a last checkpoint to the claim by the next trainer, summed over all attempts."
    )
    repeated_steps: int = Field(0, description="Steps that were recorded, lost, and computed again.")


class ExperimentRecord(_Value):
    """Everything about an experiment except its history."""

    id: str
    status: Status
    spec: ExperimentSpec
    shape: DataShape
    progress: Progress
    outcome: Outcome = Outcome()
    attempts: int = Field(0, description="How often a trainer has claimed the run.")
    error: str | None = None
    timing: Timing = Timing()
    device: str | None = None
    trainer: str | None = Field(None, description="The trainer that has the run, or had it last: host and process id.")
    cancel_requested: bool = False
    created_at: datetime
    started_at: datetime | None = None
    finished_at: datetime | None = None
    warnings: tuple[str, ...] = ()
    study: str | None = None
