"""Theory's predictions, remembered: pure functions of a network, its kind of data, and a run's first batch."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache

import scipy.special  # noqa: F401 - which theory loads where it needs it: not while the first request waits
from pydantic.main import IncEx

from service.analysis.stored_history import StoredFirstBatch
from service.analysis.theory import Prediction, predict, preflight
from service.contract.data_spec import DataShape
from service.contract.plan import Plan

PREDICTIONS = 32  # remembered; that of a thousand layers takes half a megabyte
PREFLIGHTS = 512  # some sentences each, and a study may have two thousand networks
READ: Mapping[str, IncEx | bool] = {
    "model": True,
    "data": True,
    "training": {"batch_size", "validation_split", "loss"},
}


@dataclass(frozen=True)
class _Question:
    """Looked up by all that theory reads of a plan and a batch, which are many times as large."""

    text: str
    shape: DataShape
    batch_digest: bytes
    plan: Plan = field(compare=False)
    batch: StoredFirstBatch | None = field(compare=False)

    @classmethod
    def of(cls, planned: Plan, batch: StoredFirstBatch | None = None) -> "_Question":
        text = planned.spec.model_dump_json(include=READ, exclude={"data": {"seed"}})
        numbers = b"" if batch is None else batch.inputs.tobytes() + batch.errors.tobytes()
        return cls(text, planned.shape, hashlib.sha256(numbers).digest(), planned, batch)


def prediction_of(planned: Plan, batch: StoredFirstBatch | None = None) -> Prediction:
    """What theory says of a network: conditional on a run's first batch where there is one.

    Raises:
        NoTheory: with the reason in a sentence.
    """
    return _predicted(_Question.of(planned, batch))


def preflight_of(planned: Plan) -> tuple[str, ...]:
    """What is worth a warning before anything is trained."""
    return _flown(_Question.of(planned))


@lru_cache(PREDICTIONS)
def _predicted(asked: _Question) -> Prediction:
    if asked.batch is None:
        return predict(asked.plan)
    return predict(asked.plan, asked.batch.inputs, asked.batch.errors)


@lru_cache(PREFLIGHTS)
def _flown(asked: _Question) -> tuple[str, ...]:
    return preflight(asked.plan)
