"""The packed history format: what the worker writes and the service reads.

A run has several series. Values are little-endian and have the precision of the run:

    a statistic     [recorded steps, variables]
    step_loss       [steps]
    epochs          [epochs, metrics], metrics as `Objective.epoch_metrics` names them
    first_batch     for a perceptron: inputs [batch, *input_shape], then errors [batch, outputs] at step 0,
                    where an error is batch · ∂loss/∂logits
"""

from dataclasses import dataclass

from service.contract.recording_spec import Statistic

STEP_LOSS = "step_loss"
EPOCHS = "epochs"
FIRST_BATCH = "first_batch"
SERIES = (*(statistic.value for statistic in Statistic if statistic.stored), STEP_LOSS, EPOCHS, FIRST_BATCH)

MAX_FIRST_BATCH_BYTES = 2**20  # a larger one is not stored; predictions are then from the spec alone

_FORMATS = {"float32": "<f4", "float64": "<f8"}  # NumPy's names
_BYTES = {"float32": 4, "float64": 8}


def value_format(precision: str) -> str:
    """Return the NumPy format of the stored values of a run with this precision."""
    return _FORMATS[precision]


def bytes_per_value(precision: str) -> int:
    """Return the bytes of one stored value of a run with this precision."""
    return _BYTES[precision]


@dataclass(frozen=True)
class Piece:
    """Bytes to append to a series that must be `offset` bytes long."""

    series: str
    offset: int
    data: bytes


@dataclass(frozen=True)
class HistoryChunk:
    """The history of the steps from `start` to `stop` (excluded), after which `epochs` epochs are complete."""

    start: int
    stop: int
    epochs: int
    pieces: tuple[Piece, ...]
