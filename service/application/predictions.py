"""Predictions of the mean-field theory, cached by the value that the theory reads."""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt
import scipy.special  # noqa: F401 - the theory imports it lazily; the first request must not wait for that

from service.analysis.stored_history import StoredFirstBatch
from service.analysis.theory import NoTheory, Prediction, TheoryInput, prediction_for, warnings_for
from service.contract.plan import Plan

MAX_PREDICTIONS = 32  # half a megabyte each for a network of a thousand layers
MAX_WARNINGS = 512  # a few sentences each; a study may have two thousand networks


@dataclass(frozen=True)
class _Array:
    """An array as a hashable value."""

    data: bytes
    shape: tuple[int, ...]
    format: str

    @classmethod
    def of(cls, array: npt.NDArray[np.floating]) -> "_Array":
        return cls(array.tobytes(), array.shape, array.dtype.str)

    def array(self) -> npt.NDArray[np.floating]:
        found: npt.NDArray[np.floating] = np.frombuffer(self.data, self.format).reshape(self.shape)
        return found


@dataclass(frozen=True)
class _Batch:
    """The first batch of a run as a hashable value."""

    inputs: _Array
    errors: _Array


def prediction_of(planned: Plan, batch: StoredFirstBatch | None = None) -> Prediction:
    """The prediction for a network, conditional on the first batch of a run where one is given.

    Raises:
        NoTheory: The message says why the theory does not apply.
    """
    given = None if batch is None else _Batch(_Array.of(batch.inputs), _Array.of(batch.errors))
    return _prediction(TheoryInput.of(planned), given)


def preflight_of(planned: Plan) -> tuple[str, ...]:
    """Warnings of the theory about a run before it is queued."""
    try:
        return _warnings(TheoryInput.of(planned))
    except NoTheory:
        return ()


@lru_cache(MAX_PREDICTIONS)
def _prediction(given: TheoryInput, batch: _Batch | None) -> Prediction:
    if batch is None:
        return prediction_for(given)
    return prediction_for(given, batch.inputs.array(), batch.errors.array())


@lru_cache(MAX_WARNINGS)
def _warnings(given: TheoryInput) -> tuple[str, ...]:
    return warnings_for(given)
