"""Events for clients that follow an experiment: progress, the latest gradient norms, and changes of the status."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from service.application.plans import Plans
from service.contract.history_format import value_format
from service.contract.record import ExperimentRecord
from service.contract.recording_spec import Statistic
from service.store.experiment_handle import ExperimentHandle


@dataclass(frozen=True)
class Event:
    """One event."""

    name: str  # progress, gradients or status
    data: dict[str, Any]


@dataclass(frozen=True)
class State:
    """The state of an experiment as far as it decides which events a client has seen."""

    status: str
    attempts: int
    step: int

    @classmethod
    def of(cls, record: ExperimentRecord) -> "State":
        """Return the state of a record."""
        return cls(record.status, record.attempts, record.progress.step)

    @classmethod
    def read(cls, text: str | None) -> "State | None":
        """Parse what `text` returned; None for any other text."""
        status, *numbers = (text or "").split(".")
        if len(numbers) != 2 or not all(number.isdecimal() and number.isascii() for number in numbers):
            return None
        return cls(status, *map(int, numbers))

    @property
    def text(self) -> str:
        """The state in one line, which a client sends back as `Last-Event-ID`."""
        return f"{self.status}.{self.attempts}.{self.step}"


def events_since(experiment: ExperimentHandle, plans: Plans, before: State | None) -> Iterator[Event]:
    """Yield the events that a client has missed since the state `before`; None if it has seen none."""
    record = experiment.record
    now = State.of(record)
    if before is None or (now.attempts, now.step) != (before.attempts, before.step):
        progress = record.progress.model_dump(mode="json")
        yield Event("progress", progress | {"outcome": record.outcome.model_dump(mode="json")})
        norms = _latest_norms(experiment, plans)
        if norms is not None:
            yield Event("gradients", norms)
    if before is None or (now.status, now.attempts) != (before.status, before.attempts):
        yield Event("status", {"status": record.status, "attempts": record.attempts, "error": record.error})


def _latest_norms(experiment: ExperimentHandle, plans: Plans) -> dict[str, Any] | None:
    """Return the kernels' gradient norms at the last recorded step of the record; NaN and infinity become None."""
    record = experiment.record
    planned, every = plans.of_record(record), record.spec.recording.every
    row_bytes, rows = planned.bytes_per_step(Statistic.GRADIENT_NORM), -(-record.progress.step // every)
    last = experiment.series(Statistic.GRADIENT_NORM, row_bytes, max(0, rows - 1), rows)
    if len(last) != row_bytes:
        return None
    norms = np.frombuffer(last, value_format(record.spec.training.precision))
    variables = planned.rows_of(Statistic.GRADIENT_NORM)
    kernels = [(v.name, norm) for v, norm in zip(variables, norms, strict=True) if v.role == "kernel"]
    return {
        "step": (rows - 1) * every,
        "variables": [name for name, _ in kernels],
        "values": [float(norm) if np.isfinite(norm) else None for _, norm in kernels],
    }
