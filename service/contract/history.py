"""The packed history format: what the worker writes and the service reads.

Every series is little-endian float32: a row a step of one gradient norm a trainable variable, one loss a step, and a
row an epoch of EPOCH_METRICS.
"""

from dataclasses import dataclass

FLOAT32 = "<f4"  # NumPy's name
FLOAT32_BYTES = 4
EPOCH_METRICS = ("loss", "accuracy", "val_loss", "val_accuracy")
EPOCH_ROW_BYTES = len(EPOCH_METRICS) * FLOAT32_BYTES


@dataclass(frozen=True)
class HistoryChunk:
    """Consecutive steps of a run, packed.

    `gradient_norm` holds `stop - start` rows, `step_loss` as many values, `epochs` one row for each epoch that ended
    within the chunk.
    """

    start: int
    stop: int
    epochs_before: int
    gradient_norm: bytes
    step_loss: bytes
    epochs: bytes = b""
