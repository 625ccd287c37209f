"""The bodies of answers, beyond what the contract already names."""

from datetime import datetime

from pydantic import BaseModel, Field

from service.contract.model_spec import KerasModel
from service.contract.network.graph import Variable
from service.contract.record import ExperimentRecord, Outcome, Progress, Status, Timing
from service.contract.spec import ExperimentSpec

PARTS = ("gradients", "metrics", "diagnosis", "cancel")


class Experiment(BaseModel):
    """An experiment as it stands."""

    id: str
    name: str | None
    tags: tuple[str, ...]
    status: Status
    progress: Progress
    spec: ExperimentSpec = Field(description="Every default resolved: post it again to reproduce the run.")
    outcome: Outcome
    attempts: int
    error: str | None
    timing: Timing
    device: str | None
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    warnings: tuple[str, ...]
    study: str | None
    links: dict[str, str]

    @classmethod
    def of(cls, record: ExperimentRecord) -> "Experiment":
        """The answer for a record."""
        here = f"/v1/experiments/{record.id}"
        own = {
            field: getattr(record, field)
            for field in ExperimentRecord.model_fields
            if field not in ("cancel_requested", "shape", "trainer")
        }
        links = {"self": here} | {part: f"{here}/{part}" for part in PARTS}
        if not isinstance(record.spec.model, KerasModel):
            links["theory"] = f"{here}/theory"
        if record.study is not None:
            links["study"] = f"/v1/studies/{record.study}"
        if record.spec.recording.keep_model:
            links["model"] = f"{here}/model"
        # Not validated: the record was.
        return cls.model_construct(name=record.spec.name, tags=record.spec.tags, links=links, **own)


UNREADABLE = "Damaged records that belong on this page and are left out; the log of the API names their ids."


class ExperimentPage(BaseModel):
    """Some experiments, newest first."""

    experiments: list[Experiment]
    unreadable: int = Field(description=UNREADABLE)
    next_cursor: str | None = Field(description="`cursor` of the next page; null on the last.")


class GradientHistory(BaseModel):
    """Gradient norms: `values` has one row a variable and one value a step."""

    statistic: str
    variables: tuple[Variable, ...]
    steps: list[int]
    values: list[list[float | None]] = Field(description="NaN and infinity are null.")
    first_nonfinite_step: int | None


class Metrics(BaseModel):
    """Figures of each epoch, and the loss of each step; NaN and infinity are null."""

    epochs: list[int]
    loss: list[float | None]
    accuracy: list[float | None] = Field(description="Null for regression, as mse and mae are for classes.")
    mse: list[float | None]
    mae: list[float | None]
    val_loss: list[float | None]
    val_accuracy: list[float | None]
    val_mse: list[float | None]
    val_mae: list[float | None]
    steps: list[int]
    step_loss: list[float | None]
