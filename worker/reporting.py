"""From a training run into the store: chunks, figures, times, and the word that a cancel was asked for."""

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

WRITE_EVERY_S = 0.2  # chunks of small networks come faster than anybody reads
RETRY_AFTER_S = 1.0
MEASURED = ("prepare_s", "compile_s", "train_s", "store_s")
CHECKPOINT_SHARE = 0.01  # of the time at most goes into checkpoints,
MOST_INTERVALS = 60  # unless they would then be further apart than so many usual intervals
MOST_CHECKPOINT_BYTES = 256 * 2**20  # a server takes 512 MiB at once, and has to hold the old one beside it

T = TypeVar("T")
logger = logging.getLogger(__name__)


class Reporter:
    """Writes one attempt's history, a few times a second at most, its checkpoints, and its end.

    Waits for Redis where that is away or full: the history that is not written yet is kept here meanwhile.
    `before` is the record as the attempt has found it, `bytes_written` how long each series already is.
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
        self._checkpoint_at = -math.inf  # the first chunk has one: an attempt that came so far was not in vain
        self._append_s = 0.0  # of the last write, without what it waited for a server that was away
        self._running: tuple[str, float, float] | None = None  # what is timed, since when, store_s at that time
        self.cancelled = False

    @contextmanager
    def timed(self, what: str) -> Iterator[None]:
        """Count the seconds within under `what`, those of writing under store_s; also while they pass."""
        began, stored = time.perf_counter(), self._seconds["store_s"]
        self._running = what, began - self._seconds[what], stored
        yield
        self._seconds[what] += time.perf_counter() - began - (self._seconds["store_s"] - stored)
        self._running = None

    def write(self, chunk: Chunk, checkpoint: Callable[[], bytes]) -> None:
        """Take a chunk; sets `cancelled` where the store says so. `checkpoint` packs the run as it then is."""
        self._waiting.append(chunk)
        self._outcome = _outcome_after(self._outcome, chunk)
        now = time.perf_counter()
        if now - self._written_at >= WRITE_EVERY_S:
            self._flush(checkpoint if now >= self._checkpoint_at else None)

    def keep_model(self, file: bytes) -> None:
        """Keep the trained model."""
        self.until_stored(lambda: self._attempts.keep_model(*self._run, file))

    def finish(self, status: Status, error: str = "") -> None:
        """Write what waits, then the end."""
        self._flush()
        self.until_stored(lambda: self._attempts.finish(*self._run, status, self._outcome, self._timing, error))

    def release(self, checkpoint: Callable[[], bytes]) -> None:
        """Write what waits with a checkpoint, and leave the run to another."""
        self._flush(checkpoint)
        self.until_stored(lambda: self._attempts.release(self._claim))

    def until_stored(self, ask: Callable[[], T]) -> T:
        """What the store answers, which is asked again while it is away or full: a write has its effect once."""
        while True:
            try:
                return self._with_room(ask)
            except StoreUnavailable as error:
                logger.warning("experiment %s waits for the store: %s", self._claim.experiment_id, error)
                time.sleep(RETRY_AFTER_S)

    # ---------------------------------------------------------------- within

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
            pause = min(cost / CHECKPOINT_SHARE, MOST_INTERVALS * self._checkpoint_every_s)
            self._checkpoint_at = self._written_at + max(self._checkpoint_every_s, pause)

    def _checkpoint(self, pack: Callable[[], bytes]) -> Checkpoint | None:
        state = pack()
        if len(state) <= MOST_CHECKPOINT_BYTES:
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

    def _with_room(self, write: Callable[[], T]) -> T:
        """Histories were promised their room when they were admitted; checkpoints have what is left."""
        try:
            return write()
        except StoreFull:
            if not self._attempts.make_room(self._claim):
                raise
            logger.warning("experiment %s gives up its checkpoint: Redis is full", self._claim.experiment_id)
            return write()

    def _packed(self) -> HistoryChunk:
        """All that waits, and where it goes in each series."""
        chunks = self._waiting
        epochs = [list(c.epoch_metrics.values()) for c in chunks if c.epoch_metrics is not None]
        series: dict[str, Sequence[npt.ArrayLike]] = {STEP_LOSS: [c.step_loss for c in chunks], EPOCHS: epochs}
        series |= {name.value: [c.recorded[name] for c in chunks] for name in (chunks[0].recorded if chunks else ())}
        for kept in (c.first_batch for c in chunks if c.first_batch is not None):
            series[FIRST_BATCH] = [kept.rows, kept.errors]
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
