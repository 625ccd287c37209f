"""From a training run into the store: chunks, figures, times, and the word that a cancel was asked for."""

import logging
import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

import numpy as np

from service.contract.errors import StoreUnavailable
from service.contract.history import EPOCH_METRICS, FLOAT32, HistoryChunk
from service.contract.record import Outcome, Status, Timing
from service.contract.store import Store
from worker.training.engine import Chunk, EpochMetrics

WRITE_EVERY_S = 0.2  # chunks of small networks come faster than anybody reads
RETRY_AFTER_S = 1.0

T = TypeVar("T")
logger = logging.getLogger(__name__)


class Reporter:
    """Writes one attempt's history, a few times a second at most, and its end.

    Waits for Redis where that is away or full: the history that is not written yet is kept here meanwhile.
    """

    def __init__(self, store: Store, experiment_id: str, attempt: int) -> None:
        self._store = store
        self._experiment_id = experiment_id
        self._attempt = attempt
        self._waiting: list[Chunk] = []
        self._epochs_written = 0
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
        if chunk.epoch_metrics is not None:
            self._outcome = _outcome(chunk.epoch_metrics, chunk.diverged_at_step)
        if time.perf_counter() - self._written_at >= WRITE_EVERY_S:
            self._flush()

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
        chunk = _packed(self._waiting, self._epochs_written)
        self.cancelled = self._until_stored(
            lambda: self._store.append(self._experiment_id, self._attempt, chunk, self._outcome)
        )
        self._epochs_written += sum(c.epoch_metrics is not None for c in self._waiting)
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


def _packed(chunks: list[Chunk], epochs_before: int) -> HistoryChunk:
    ended = [chunk.epoch_metrics for chunk in chunks if chunk.epoch_metrics is not None]
    epochs = [[getattr(metrics, name) for name in EPOCH_METRICS] for metrics in ended]
    return HistoryChunk(
        start=chunks[0].start,
        stop=chunks[-1].stop,
        epochs_before=epochs_before,
        gradient_norm=b"".join(c.gradient_norm.astype(FLOAT32).tobytes() for c in chunks),
        step_loss=b"".join(c.step_loss.astype(FLOAT32).tobytes() for c in chunks),
        epochs=np.array(epochs, FLOAT32).tobytes(),
    )


def _outcome(metrics: EpochMetrics, diverged_at_step: int | None) -> Outcome:
    def finite(value: float) -> float | None:
        return value if math.isfinite(value) else None

    return Outcome(
        loss=finite(metrics.loss),
        accuracy=finite(metrics.accuracy),
        val_loss=finite(metrics.val_loss),
        val_accuracy=finite(metrics.val_accuracy),
        diverged_at_step=diverged_at_step,
    )
