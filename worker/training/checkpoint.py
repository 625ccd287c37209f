"""Checkpoints: everything that another process needs to continue a run to the same bytes."""

import io
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from worker.training.early_stopping import EarlyStoppingState
from worker.training.program import TrainingState

Arrays = Mapping[str, npt.NDArray[Any]]

# A checkpoint of another format is ignored, and its run starts again: the kernels of another version of TensorFlow may
# differ in their last bits. Names of entries in the file are part of the format.
FORMAT = f"1 TensorFlow {tf.__version__}"


@dataclass(frozen=True)
class Position:
    """Where a run is between two chunks."""

    epoch: int = 0
    batch: int = 0  # the next batch of the epoch
    step: int = 0  # the next step of the run
    ended: bool = False  # whether training ended before its last epoch
    # Values of the steps of this epoch so far. Epoch metrics sum over all of them at once, so that the sums do not
    # depend on how the steps fall into chunks.
    losses: tuple[npt.NDArray[np.floating], ...] = ()  # each [steps]
    metrics: tuple[npt.NDArray[np.floating], ...] = ()  # each [steps, metrics]


@dataclass(frozen=True)
class TrainingCheckpoint:
    """A run between two chunks."""

    position: Position
    state: TrainingState
    early_stopping: EarlyStoppingState | None = None  # None if the run has no early stopping
    best: TrainingState | None = None  # the state that early stopping restores at the end, if any

    def packed(self) -> bytes:
        """Pack the checkpoint as an uncompressed NPZ file, because weights hardly compress."""
        at = self.position
        described = {
            "epoch": at.epoch,
            "batch": at.batch,
            "step": at.step,
            "ended": at.ended,
            "seen": self.early_stopping,
        }
        arrays = {"said": np.frombuffer(json.dumps(described).encode(), np.uint8), **_named(self.state, "state")}
        if at.losses:
            arrays |= {"losses": np.concatenate(at.losses), "metrics": np.concatenate(at.metrics)}
        if self.best is not None:
            arrays |= _named(self.best, "best")
        file = io.BytesIO()
        np.savez(file, allow_pickle=False, **arrays)
        return file.getvalue()

    @classmethod
    def unpacked(cls, file: bytes) -> "TrainingCheckpoint":
        """Restore a checkpoint.

        Args:
            file: What `packed` returned in this `FORMAT`; anything else has undefined results.
        """
        with np.load(io.BytesIO(file), allow_pickle=False) as arrays:
            described = json.loads(arrays["said"].tobytes())
            stopping = described.pop("seen")
            position = Position(**described)
            if "losses" in arrays:
                position = replace(position, losses=(arrays["losses"],), metrics=(arrays["metrics"],))
            return cls(
                position,
                _state(arrays, "state"),
                None if stopping is None else EarlyStoppingState(*stopping),
                _state(arrays, "best") if "best.weights" in arrays else None,
            )


def _named(state: TrainingState, prefix: str) -> dict[str, npt.NDArray[Any]]:
    fields = state._asdict()
    slots = fields.pop("slots")
    fields |= {f"slots.{i}": slot for i, slot in enumerate(slots)}
    return {f"{prefix}.{name}": np.asarray(value) for name, value in fields.items()}


def _state(arrays: Arrays, prefix: str) -> TrainingState:
    count = sum(name.startswith(f"{prefix}.slots.") for name in arrays)
    slots = tuple(tf.constant(arrays[f"{prefix}.slots.{i}"]) for i in range(count))
    fields = {name: tf.constant(arrays[f"{prefix}.{name}"]) for name in TrainingState._fields if name != "slots"}
    return TrainingState(**fields, slots=slots)
