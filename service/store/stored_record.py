"""Reads the record of an experiment from its hash in Redis."""

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import lru_cache

from service.contract.data_spec import DataShape
from service.contract.record import ExperimentRecord, Outcome, Progress, Status, Timing
from service.contract.spec import ExperimentSpec
from service.contract.workload import workload
from service.store.damage import damage_named


def record_of(experiment_id: str, fields: Mapping[bytes, bytes]) -> ExperimentRecord:
    """Return the record from the fields of its hash.

    Raises:
        DamagedRecord: a field is missing or cannot be read.
    """
    with damage_named("experiment", experiment_id):
        return _record_of(experiment_id, fields)


def _record_of(experiment_id: str, fields: Mapping[bytes, bytes]) -> ExperimentRecord:
    text = {name.decode(): value.decode() for name, value in fields.items()}
    spec = _spec(text["spec"])
    shape = DataShape.model_validate_json(text["shape"])
    created, started = float(text["created_at"]), text.get("started_at")
    timing = Timing.model_validate_json(text.get("timing", "{}"))
    if started is not None:
        measured = {
            "queued_s": round(float(started) - created, 6),
            "resume_s": float(text.get("resume_s", 0.0)),
            "repeated_steps": int(text.get("repeated_steps", 0)),
        }
        timing = timing.model_copy(update=measured)
    return ExperimentRecord(
        id=experiment_id,
        status=Status(text["status"]),
        spec=spec,
        shape=shape,
        progress=progress_of(spec, shape, step=int(text.get("step", 0)), epoch=int(text.get("epoch", 0))),
        outcome=Outcome.model_validate_json(text.get("outcome", "{}")),
        attempts=int(text.get("attempts", 0)),
        error=text.get("error"),
        timing=timing,
        device=text.get("device"),
        trainer=text.get("trainer"),
        study=text.get("study"),
        cancel_requested=text.get("cancel_requested") == "1",
        created_at=moment(text["created_at"]),
        started_at=moment(started) if started is not None else None,
        finished_at=moment(text["finished_at"]) if "finished_at" in text else None,
        warnings=tuple(json.loads(text["warnings"])),
    )


@lru_cache(maxsize=64)
def _spec(text: str) -> ExperimentSpec:
    """Parse a stored spec. Clients poll the same run, and parsing a user's own network takes milliseconds."""
    return ExperimentSpec.model_validate_json(text)


def progress_of(spec: ExperimentSpec, shape: DataShape, step: int = 0, epoch: int = 0) -> Progress:
    """Return the progress of a run with this spec after these numbers of steps and epochs."""
    total_steps = workload(spec, shape.samples).total_steps
    return Progress(step=step, total_steps=total_steps, epoch=epoch, epochs=spec.training.epochs)


def moment(seconds: str | bytes) -> datetime:
    """Parse a time that a script wrote: seconds since 1970."""
    return datetime.fromtimestamp(float(seconds), tz=UTC)
