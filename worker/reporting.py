"""From a training run into the store: chunks, figures, times, and the word that a cancel was asked for."""

import logging
import math
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from service.contract.errors import StoreUnavailable
from service.contract.history import EPOCHS, STEP_LOSS, HistoryChunk, Piece, value_format
from service.contract.record import Outcome, Status, Timing
from service.contract.store import Store
from worker.training.engine import Chunk

WRITE_EVERY_S = 0.2  # chunks of small networks come faster than anybody reads
RETRY_AFTER_S = 1.0

T = TypeVar("T")
logger = logging.getLogger(__name__)


class Reporter:
    """Writes one attempt's history, a few times a second at most, and its end.

    Waits for Redis where that is away or full: the history that is not written yet is kept here meanwhile.
    """

    def __init__(self, store: Store, experiment_id: str, attempt: int, precision: str = "float32") -> None:
        self._store = store
        self._experiment_id = experiment_id
        self._attempt = attempt
        self._format = value_format(precision)
        self._waiting: list[Chunk] = []
        self._epochs_written = 0
        self._bytes_written: Counter[str] = Counter()
        self._outcome = Outcome()
        self._seconds = dict.fromkeys(("prepare_s", "compile_s", "train_s", "store_s"), 0.0)
        self._written_at = -math.inf
        self.cancelled = False

    @contextmanager
    def timed(self, what: str) -> Iterator[None]:
        """Count the seconds within under `what`, those of writing under store_s."""
        began, stored = time.perf_counter(), self._seconds["store_s"]
        yield
        self._seconds[what] += time.perf_counter() - began - (self._seconds["store_s"] - stored)

    def write(self, chunk: Chunk) -> None:
        """Take a chunk; sets `cancelled` where the store says so."""
        self._waiting.append(chunk)
        self._outcome = _outcome_after(self._outcome, chunk)
        if time.perf_counter() - self._written_at >= WRITE_EVERY_S:
            self._flush()

    def keep_model(self, file: bytes) -> None:
        """Keep the trained model."""
        self._until_stored(lambda: self._store.keep_model(self._experiment_id, self._attempt, file))

    def finish(self, status: Status, error: str = "") -> None:
        """Write what waits, then the end."""
        self._flush()
        timing = Timing.model_validate({name: round(s, 6) for name, s in self._seconds.items()})
        self._until_stored(
            lambda: self._store.finish(self._experiment_id, self._attempt, status, self._outcome, timing, error)
        )

    def _flush(self) -> None:
        if not self._waiting:
            return
        began = time.perf_counter()
        chunk = self._packed()
        self.cancelled = self._until_stored(
            lambda: self._store.append(self._experiment_id, self._attempt, chunk, self._outcome)
        )
        self._epochs_written = chunk.epochs
        self._bytes_written.update({piece.series: len(piece.data) for piece in chunk.pieces})
        self._waiting.clear()
        self._written_at = time.perf_counter()
        self._seconds["store_s"] += self._written_at - began

    def _until_stored(self, write: Callable[[], T]) -> T:
        """Every write of the store may be repeated: it has an effect once."""
        while True:
            try:
                return write()
            except StoreUnavailable as error:
                logger.warning("experiment %s waits for the store: %s", self._experiment_id, error)
                time.sleep(RETRY_AFTER_S)

    def _packed(self) -> HistoryChunk:
        """All that waits, and where it goes in each series."""
        chunks = self._waiting
        epochs = [list(c.epoch_metrics.values()) for c in chunks if c.epoch_metrics is not None]
        series: dict[str, Sequence[npt.ArrayLike]] = {STEP_LOSS: [c.step_loss for c in chunks], EPOCHS: epochs}
        series |= {name.value: [c.recorded[name] for c in chunks] for name in chunks[0].recorded}
        pieces = []
        for name, parts in series.items():
            data = b"".join(np.asarray(part, self._format).tobytes() for part in parts)
            if data:
                pieces.append(Piece(name, self._bytes_written[name], data))
        return HistoryChunk(chunks[0].start, chunks[-1].stop, self._epochs_written + len(epochs), tuple(pieces))


def _outcome_after(before: Outcome, chunk: Chunk) -> Outcome:
    updates: dict[str, object] = {}
    if chunk.epoch_metrics is not None:
        updates |= {name: v if math.isfinite(v) else None for name, v in chunk.epoch_metrics.items()}
    if before.diverged_at_step is None and chunk.diverged_at_step is not None:
        updates["diverged_at_step"] = chunk.diverged_at_step
    if chunk.stopped_early:
        updates["stopped_early"] = True
    return before.model_copy(update=updates)
