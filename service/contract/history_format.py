"""The packed history format: what the worker writes and the service reads.

Every series is little-endian float32, float64 where the run's precision is that: a row of one value a variable for
each recorded step of a statistic, one loss a step, and a row of the objective's metrics an epoch. The first batch of a
perceptron is one too, of one row: its rows as the network reads them [batch, inputs], then the output errors of each
[batch, outputs], which are batch · ∂loss/∂logits at step 0.
"""

from dataclasses import dataclass

from service.contract.recording_spec import Statistic

STEP_LOSS = "step_loss"
EPOCHS = "epochs"
FIRST_BATCH = "first_batch"
SERIES = (*(statistic.value for statistic in Statistic if statistic.stored), STEP_LOSS, EPOCHS, FIRST_BATCH)

MAX_FIRST_BATCH_BYTES = 2**20  # a larger one is not kept: theory then knows the network and not the data

_FORMATS = {"float32": "<f4", "float64": "<f8"}  # NumPy's names
_BYTES = {"float32": 4, "float64": 8}


def value_format(precision: str) -> str:
    """How a value of a run of this precision is stored."""
    return _FORMATS[precision]


def bytes_per_value(precision: str) -> int:
    """Bytes that it takes."""
    return _BYTES[precision]


@dataclass(frozen=True)
class Piece:
    """What a chunk adds to a series that is `offset` bytes long."""

    series: str
    offset: int
    data: bytes


@dataclass(frozen=True)
class HistoryChunk:
    """Consecutive steps of a run, up to `stop`, with which `epochs` epochs are complete."""

    start: int
    stop: int
    epochs: int
    pieces: tuple[Piece, ...]
