"""Everything that a resumed run needs: what a step changes, and where in its epoch it was."""

import io
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from worker.training.program import State
from worker.training.stopping import Seen

Arrays = Mapping[str, npt.NDArray[Any]]

FORMAT = f"1 TensorFlow {tf.__version__}"  # another's kernels may differ in the last bits: such a run begins anew


@dataclass
class Position:
    """Between two chunks of a run."""

    epoch: int = 0
    batch: int = 0  # of the epoch, the next to be trained
    step: int = 0
    ended: bool = False  # whether no step follows
    # Of the steps of this epoch so far, for its figures are sums over all at once, however they fell into chunks.
    losses: list[npt.NDArray[np.floating]] = field(default_factory=list)  # each [steps]
    metrics: list[npt.NDArray[np.floating]] = field(default_factory=list)  # each [steps, metrics]


@dataclass(frozen=True)
class Checkpoint:
    """A run between two chunks."""

    position: Position
    state: State
    seen: Seen | None = None  # by early stopping, where there is any
    best: State | None = None  # that early stopping is to restore

    def packed(self) -> bytes:
        """As an uncompressed NPZ file: weights hardly compress."""
        at = self.position
        said = {"epoch": at.epoch, "batch": at.batch, "step": at.step, "ended": at.ended, "seen": self.seen}
        arrays = {"said": np.frombuffer(json.dumps(said).encode(), np.uint8), **_named(self.state, "state")}
        if at.losses:
            arrays |= {"losses": np.concatenate(at.losses), "metrics": np.concatenate(at.metrics)}
        if self.best is not None:
            arrays |= _named(self.best, "best")
        file = io.BytesIO()
        np.savez(file, allow_pickle=False, **arrays)
        return file.getvalue()

    @classmethod
    def unpacked(cls, file: bytes) -> "Checkpoint":
        """What `packed` was of; only ever given what this format's `packed` has made."""
        with np.load(io.BytesIO(file), allow_pickle=False) as arrays:
            said = json.loads(arrays["said"].tobytes())
            seen = said.pop("seen")
            position = Position(**said)
            if "losses" in arrays:
                position.losses, position.metrics = [arrays["losses"]], [arrays["metrics"]]
            best = _state(arrays, "best") if "best.weights" in arrays else None
            return cls(position, _state(arrays, "state"), None if seen is None else Seen(*seen), best)


def _named(state: State, prefix: str) -> dict[str, npt.NDArray[Any]]:
    fields = state._asdict()
    slots = fields.pop("slots")
    fields |= {f"slots.{i}": slot for i, slot in enumerate(slots)}
    return {f"{prefix}.{name}": np.asarray(value) for name, value in fields.items()}


def _state(arrays: Arrays, prefix: str) -> State:
    count = sum(name.startswith(f"{prefix}.slots.") for name in arrays)
    slots = tuple(tf.constant(arrays[f"{prefix}.slots.{i}"]) for i in range(count))
    fields = {name: tf.constant(arrays[f"{prefix}.{name}"]) for name in State._fields if name != "slots"}
    return State(**fields, slots=slots)
