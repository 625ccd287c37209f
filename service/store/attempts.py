"""Attempts at runs in Redis: claimed for a time, prolonged by every word of their trainer, else taken from it.

Keys beside those of `service.store.experiments`:

    gradflow:leases             sorted set of running experiments, by the server's time at which their leases end
    gradflow:{ID}:checkpoint    hash: what an attempt goes on from, and the bytes that each series then had
    gradflow:woken              there while the sweeper has just sent messages
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import cast

import redis
from pydantic_core import to_json

from service.contract.errors import StaleAttempt
from service.contract.history_format import HistoryChunk
from service.contract.record import Outcome, Status, Timing
from service.store import attempt_scripts
from service.store.connection import redis_errors_as_ours
from service.store.damage import DamageLog, discard
from service.store.queue import EXPERIMENTS_QUEUE
from service.store.script_runner import Scripts

JOIN_FROM_STEPS = 5_000  # to trace and compile a program that another trainer has costs as much as some thousand steps
SWEPT_AT_ONCE = 100
BYTES = "bytes:"  # before the name of a series, as the scripts have it
NAMES = (
    *("CLAIM", "CLAIM_NEXT", "APPEND", "HOLD", "MAKE_ROOM", "KEEP_MODEL"),
    *("FINISH", "RELEASE", "SWEEP", "LOSE_ALL", "DISCARD"),
)
NO_TRAINER_CAN_READ_IT = "a trainer or a sweep could not read it, and it was marked failed"


@dataclass(frozen=True)
class Claim:
    """A run that is this process's to train, and the number of the attempt."""

    experiment_id: str
    attempt: int


@dataclass(frozen=True)
class Checkpoint:
    """What an attempt goes on from: the state as its trainer packed it."""

    format: str
    state: bytes


@dataclass(frozen=True)
class KeptState:
    """What a claimed run goes on from."""

    state: bytes
    bytes_written: Mapping[str, int]  # of each series


@dataclass(frozen=True)
class Swept:
    """What a sweep has found."""

    lapsed: int  # leases that had run out
    next_lapse_s: float | None  # until the next lease may run out
    unheard: tuple[str, ...]  # queued experiments whose messages are to be sent again


class Attempts:
    """The trainers' side of experiments. Every change is one atomic script; every method may raise StoreUnavailable."""

    def __init__(self, client: redis.Redis, lease_s: float = 30.0, prefix: str = "gradflow") -> None:
        self._redis = client
        self._lease_s = lease_s
        self._prefix = prefix
        self._scripts = Scripts(client, prefix, {name: getattr(attempt_scripts, name) for name in NAMES})
        self._damage = DamageLog("experiment")

    @property
    def lease_s(self) -> float:
        """Seconds that a run is a trainer's without a word of it."""
        return self._lease_s

    def claim(self, experiment_id: str, device: str, trainer: str = "", checkpoints: str = "") -> int | None:
        """Take a queued run; the number of the attempt, or None where there is nothing to take."""
        return self._scripts.run("CLAIM", experiment_id, device, trainer, self._lease_s, checkpoints) or None

    def claim_next(
        self, device: str, trainer: str, compiled: Sequence[str] = (), checkpoints: str = ""
    ) -> Claim | None:
        """Take the run that is best taken next by who has programs of these architectures, most recently used first.

        `checkpoints` is the format that the trainer reads: a run with another begins anew. None where nothing is
        queued, or only a few short runs of an architecture that another trainer is at.
        """
        arguments = (device, trainer, self._lease_s, checkpoints, JOIN_FROM_STEPS, *compiled)
        answer = self._scripts.run("CLAIM_NEXT", "", *arguments)
        experiment_id, attempt, damaged = answer
        self._report(damaged)
        return Claim(experiment_id.decode(), attempt) if attempt else None

    def any_queued(self) -> bool:
        """Whether there is anything to claim, or will be once others have done their part."""
        with redis_errors_as_ours():
            return bool(self._redis.exists(f"{self._prefix}:experiments:status:{Status.QUEUED}"))

    def kept_state(self, claim: Claim) -> KeptState | None:
        """What a claimed run goes on from; None where it begins."""
        with redis_errors_as_ours():
            key = f"{self._prefix}:{{{claim.experiment_id}}}:checkpoint"
            kept = cast("dict[bytes, bytes]", self._redis.hgetall(key))
        if not kept:
            return None
        lengths = {name.decode()[len(BYTES) :]: int(n) for name, n in kept.items() if name.startswith(BYTES.encode())}
        return KeptState(kept[b"state"], lengths)

    def append(
        self,
        experiment_id: str,
        attempt: int,
        chunk: HistoryChunk,
        outcome: Outcome,
        timing: Timing | None = None,
        checkpoint: Checkpoint | None = None,
    ) -> bool:
        """Add a chunk to the history; whether a cancel was asked for.

        With a checkpoint the next attempt, if there must be one, goes on behind this chunk. Prolongs the lease.

        Raises:
            StaleAttempt: the run is not this attempt's any more, or the chunk does not join the stored history.
        """
        pieces = [part for piece in chunk.pieces for part in (piece.series, piece.offset, piece.data)]
        figures = (chunk.stop, chunk.epochs, to_json(outcome), to_json(timing or Timing()))
        kept = ("", b"") if checkpoint is None else (checkpoint.format, checkpoint.state)
        answer = self._scripts.run("APPEND", experiment_id, attempt, self._lease_s, *figures, *kept, *pieces)
        if answer == -1:
            raise StaleAttempt(f"attempt {attempt} of experiment {experiment_id} may not write step {chunk.start}")
        return bool(answer)

    def hold(self, claim: Claim) -> bool:
        """Prolong the lease; whether a cancel was asked for.

        Raises:
            StaleAttempt: the run is not this attempt's any more.
        """
        answer = self._scripts.run("HOLD", claim.experiment_id, claim.attempt, self._lease_s)
        if answer == -1:
            raise StaleAttempt(f"attempt {claim.attempt} of experiment {claim.experiment_id} has lost its lease")
        return bool(answer)

    def make_room(self, claim: Claim) -> bool:
        """Give up the run's checkpoint, for a server too full for its history; whether there was one.

        The next attempt, if there must be one before the next checkpoint, begins anew. A run of which a cancel was
        asked for ends here: it has nothing to wait for.

        Raises:
            StaleAttempt: the run is not this attempt's any more.
        """
        answer = self._scripts.run("MAKE_ROOM", claim.experiment_id, claim.attempt)
        if answer == -1:
            raise StaleAttempt(f"attempt {claim.attempt} of experiment {claim.experiment_id} is over")
        return bool(answer)

    def keep_model(self, experiment_id: str, attempt: int, file: bytes) -> None:
        """Keep the trained model as a `.keras` file.

        Raises:
            StaleAttempt: the run is not this attempt's any more.
        """
        if not self._scripts.run("KEEP_MODEL", experiment_id, attempt, file):
            raise StaleAttempt(f"attempt {attempt} of experiment {experiment_id} may not keep a model")

    def finish(
        self,
        experiment_id: str,
        attempt: int,
        status: Status,
        outcome: Outcome,
        timing: Timing,
        error: str = "",
    ) -> None:
        """End a run, for good.

        Raises:
            StaleAttempt: the run is not this attempt's any more.
        """
        figures = (status, error, to_json(outcome), to_json(timing))
        if not self._scripts.run_durably("FINISH", experiment_id, attempt, *figures):
            raise StaleAttempt(f"attempt {attempt} of experiment {experiment_id} may not end it")

    def release(self, claim: Claim) -> None:
        """Leave a run to another, who goes on from the last checkpoint; nothing where it is not this attempt's."""
        self._scripts.run("RELEASE", claim.experiment_id, claim.attempt, "released")

    def lose(self, claim: Claim) -> None:
        """Take a run from a trainer that is known to be dead, as if its lease had ended."""
        self._scripts.run("RELEASE", claim.experiment_id, claim.attempt, "lost")

    def lose_all(self) -> None:
        """The same with every run. Only for a server that no worker uses."""
        self._report(self._scripts.run("LOSE_ALL", ""))

    def sweep(self, pause_s: float, keep_s: float | None = None) -> Swept:
        """Queue runs again whose leases have ended, delete what ended more than `keep_s` ago, and find who is unheard.

        Those are found once in `pause_s` seconds, whoever asks.
        """
        kept = "" if keep_s is None else keep_s
        lapsed, following, unheard, damaged, unreadable = self._scripts.run(
            "SWEEP", "", self._lease_s, EXPERIMENTS_QUEUE, pause_s, kept, SWEPT_AT_ONCE
        )
        self._report(damaged)
        if unreadable:
            discard(self._redis, self._scripts, self._prefix, [found.decode() for found in unreadable])
        soonest = float(following)
        return Swept(lapsed, None if soonest < 0 else soonest, tuple(run.decode() for run in unheard))

    def _report(self, damaged: Sequence[bytes]) -> None:
        for experiment_id in damaged:
            self._damage.report(experiment_id.decode(errors="replace"), NO_TRAINER_CAN_READ_IT)
