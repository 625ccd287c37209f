"""Writes a training run to the store: its history, metrics, timing and checkpoints; reads whether it was cancelled."""

import logging
import math
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from service.contract.errors import StoreFull, StoreUnavailable
from service.contract.history_format import EPOCHS, FIRST_BATCH, STEP_LOSS, HistoryChunk, Piece, value_format
from service.contract.record import ExperimentRecord, Outcome, Status, Timing
from service.store.attempts import Attempts, Checkpoint, Claim
from worker.training.checkpoint import FORMAT
from worker.training.engine import Chunk

WRITE_EVERY_S = 0.2  # small networks produce chunks much faster than clients read them
RETRY_AFTER_S = 1.0
MEASURED = ("prepare_s", "compile_s", "train_s", "store_s")
# Share of the time for checkpoints, as long as they are at most MAX_INTERVALS intervals apart.
CHECKPOINT_SHARE = 0.01
MAX_INTERVALS = 60
MAX_CHECKPOINT_BYTES = 256 * 2**20  # Redis values have at most 512 MiB, and the previous checkpoint is still stored

T = TypeVar("T")
logger = logging.getLogger(__name__)


class Reporter:
    """Writes the history of one attempt, at most a few times per second, its checkpoints and its end.

    Waits while Redis does not answer or is full, and keeps the history that is not written yet in memory.

    Args:
        attempts: The store of attempts.
        claim: The attempt.
        before: The record at the beginning of the attempt.
        bytes_written: Length in bytes of each series at that time.
        checkpoint_every_s: Seconds between two checkpoints, if they take little of the time.
    """

    def __init__(
        self,
        attempts: Attempts,
        claim: Claim,
        before: ExperimentRecord,
        bytes_written: Mapping[str, int],
        checkpoint_every_s: float,
    ) -> None:
        self._attempts = attempts
        self._claim = claim
        self._format = value_format(before.spec.training.precision)
        self._waiting: list[Chunk] = []
        self._step, self._epochs_written = before.progress.step, before.progress.epoch
        self._bytes_written = Counter(bytes_written)
        self._outcome = before.outcome
        self._seconds = {name: getattr(before.timing, name) or 0.0 for name in MEASURED}
        self._written_at = -math.inf
        self._checkpoint_every_s = checkpoint_every_s
        self._checkpoint_at = -math.inf  # the first chunk comes with a checkpoint, so that each attempt makes progress
        self._append_s = 0.0  # duration of the last write, without waiting for Redis
        self._running: tuple[str, float, float] | None = None  # name, start, and store_s at the start
        self.cancelled = False

    @contextmanager
    def timed(self, what: str) -> Iterator[None]:
        """Count the seconds of this context as `what`, except those of writing, which are counted as store_s."""
        began, stored = time.perf_counter(), self._seconds["store_s"]
        self._running = what, began - self._seconds[what], stored
        yield
        self._seconds[what] += time.perf_counter() - began - (self._seconds["store_s"] - stored)
        self._running = None

    def write(self, chunk: Chunk, checkpoint: Callable[[], bytes]) -> None:
        """Write a chunk, now or with a later one; sets `cancelled` if a client has cancelled the run.

        `checkpoint` packs the current state of the run; it is called only if a checkpoint is due.
        """
        self._waiting.append(chunk)
        self._outcome = _outcome_after(self._outcome, chunk)
        now = time.perf_counter()
        if now - self._written_at >= WRITE_EVERY_S:
            self._flush(checkpoint if now >= self._checkpoint_at else None)

    def keep_model(self, file: bytes) -> None:
        """Store the trained model, a `.keras` file."""
        self.until_stored(lambda: self._attempts.keep_model(*self._run, file))

    def finish(self, status: Status, error: str = "") -> None:
        """Write the remaining history, then the final status."""
        self._flush()
        self.until_stored(lambda: self._attempts.finish(*self._run, status, self._outcome, self._timing, error))

    def release(self, checkpoint: Callable[[], bytes]) -> None:
        """Write the remaining history with a checkpoint, and release the run to another trainer."""
        self._flush(checkpoint)
        self.until_stored(lambda: self._attempts.release(self._claim))

    def until_stored(self, call: Callable[[], T]) -> T:
        """Call until the store answers and is not full, and return the answer; a repeated write has its effect once."""
        while True:
            try:
                return self._giving_up_the_checkpoint(call)
            except StoreUnavailable as error:
                logger.warning("experiment %s waits for the store: %s", self._claim.experiment_id, error)
                time.sleep(RETRY_AFTER_S)

    @property
    def _run(self) -> tuple[str, int]:
        return self._claim.experiment_id, self._claim.attempt

    @property
    def _timing(self) -> Timing:
        seconds = dict(self._seconds)
        if self._running is not None:
            what, began, stored = self._running
            seconds[what] = time.perf_counter() - began - (seconds["store_s"] - stored)
        return Timing.model_validate({name: round(s, 6) for name, s in seconds.items()})

    def _flush(self, pack: Callable[[], bytes] | None = None) -> None:
        if not self._waiting and pack is None:
            return
        began = time.perf_counter()
        chunk = self._packed()
        checkpoint = self._checkpoint(pack) if pack is not None else None
        packed_at = time.perf_counter()
        self.cancelled = self.until_stored(lambda: self._append(chunk, checkpoint))
        self._step, self._epochs_written = chunk.stop, chunk.epochs
        self._bytes_written.update({piece.series: len(piece.data) for piece in chunk.pieces})
        self._waiting.clear()
        self._written_at = time.perf_counter()
        self._seconds["store_s"] += self._written_at - began
        if checkpoint is not None:
            cost = packed_at - began + self._append_s
            pause = min(cost / CHECKPOINT_SHARE, MAX_INTERVALS * self._checkpoint_every_s)
            self._checkpoint_at = self._written_at + max(self._checkpoint_every_s, pause)

    def _checkpoint(self, pack: Callable[[], bytes]) -> Checkpoint | None:
        state = pack()
        if len(state) <= MAX_CHECKPOINT_BYTES:
            return Checkpoint(FORMAT, state)
        logger.warning("experiment %s is too large for checkpoints: %d bytes", self._claim.experiment_id, len(state))
        self._checkpoint_at = math.inf
        return None

    def _append(self, chunk: HistoryChunk, checkpoint: Checkpoint | None) -> bool:
        began = time.perf_counter()
        try:
            return self._attempts.append(*self._run, chunk, self._outcome, self._timing, checkpoint)
        except StoreFull:
            if checkpoint is None:
                raise
            return self._attempts.append(*self._run, chunk, self._outcome, self._timing)
        finally:
            self._append_s = time.perf_counter() - began

    def _giving_up_the_checkpoint(self, write: Callable[[], T]) -> T:
        """Delete the checkpoint of this run if Redis is full: memory is reserved for histories, not for checkpoints."""
        try:
            return write()
        except StoreFull:
            if not self._attempts.drop_checkpoint(self._claim):
                raise
            logger.warning("experiment %s loses its checkpoint because Redis is full", self._claim.experiment_id)
            return write()

    def _packed(self) -> HistoryChunk:
        """The chunks that are not written yet as one, with the position of each piece in its series."""
        chunks = self._waiting
        epochs = [list(c.epoch_metrics.values()) for c in chunks if c.epoch_metrics is not None]
        series: dict[str, Sequence[npt.ArrayLike]] = {STEP_LOSS: [c.step_loss for c in chunks], EPOCHS: epochs}
        series |= {name.value: [c.recorded[name] for c in chunks] for name in (chunks[0].recorded if chunks else ())}
        for kept in (c.first_batch for c in chunks if c.first_batch is not None):
            series[FIRST_BATCH] = [kept.inputs, kept.errors]
        pieces = []
        for name, parts in series.items():
            data = b"".join(np.asarray(part, self._format).tobytes() for part in parts)
            if data:
                pieces.append(Piece(name, self._bytes_written[name], data))
        stop = chunks[-1].stop if chunks else self._step
        return HistoryChunk(self._step, stop, self._epochs_written + len(epochs), tuple(pieces))


def _outcome_after(before: Outcome, chunk: Chunk) -> Outcome:
    updates: dict[str, object] = {}
    if chunk.epoch_metrics is not None:
        updates |= {name: v if math.isfinite(v) else None for name, v in chunk.epoch_metrics.items()}
    if before.diverged_at_step is None and chunk.diverged_at_step is not None:
        updates["diverged_at_step"] = chunk.diverged_at_step
    if chunk.stopped_early:
        updates["stopped_early"] = True
    return before.model_copy(update=updates)
