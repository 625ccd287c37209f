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


@dataclass(frozen=True)
class _PredictionInput:
    """What a prediction depends on."""

    network: TheoryInput
    batch: _Batch | None


class Predictions:
    """Asks the theory and keeps the last answers. Methods may be called by several threads."""

    def __init__(self) -> None:
        self._prediction = lru_cache(MAX_PREDICTIONS)(_predict)
        self._warnings = lru_cache(MAX_WARNINGS)(warnings_for)

    def prediction(self, planned: Plan, batch: StoredFirstBatch | None = None) -> Prediction:
        """Return the prediction for a network, conditional on the first batch of a run where one is given.

        Raises:
            NoTheory: The message says why the theory does not apply.
        """
        given = None if batch is None else _Batch(_Array.of(batch.inputs), _Array.of(batch.errors))
        return self._prediction(_PredictionInput(TheoryInput.of(planned), given))

    def warnings(self, planned: Plan) -> tuple[str, ...]:
        """Return the warnings of the theory about a run before it is queued."""
        try:
            return self._warnings(TheoryInput.of(planned))
        except NoTheory:
            return ()


def _predict(given: _PredictionInput) -> Prediction:
    if given.batch is None:
        return prediction_for(given.network)
    return prediction_for(given.network, given.batch.inputs.array(), given.batch.errors.array())
