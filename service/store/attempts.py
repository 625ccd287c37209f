"""The trainers' side of experiments: attempts, their leases, their writes and their checkpoints.

A claimed run has a lease, which every write and every heartbeat of its trainer prolongs. When the lease ends, the run
is queued again. The number of the attempt is the fencing token.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import redis
from pydantic_core import to_json

from service.contract.errors import StaleAttempt
from service.contract.history_format import HistoryChunk
from service.contract.record import Outcome, Status, Timing
from service.store.clock import ShiftedClock
from service.store.connection import redis_errors_as_ours
from service.store.damage import DamageLog, discard
from service.store.names import Names
from service.store.queue import EXPERIMENTS_QUEUE
from service.store.results import Write
from service.store.schema import VERSION_0_TRAINERS
from service.store.script_runner import Scripts

JOIN_FROM_STEPS = 5_000  # tracing and compiling a program once more costs as much as some thousand steps
MAX_SWEPT_AT_ONCE = 100
BYTES = b"bytes:"  # in a checkpoint, before the name of a series
UNREADABLE_RUN = "a trainer or a sweep could not read it, and it was marked failed"


@dataclass(frozen=True)
class Claim:
    """A run that this process is to train, and the number of the attempt."""

    experiment_id: str
    attempt: int


@dataclass(frozen=True)
class Checkpoint:
    """The state from which the next attempt continues, as the trainer packed it."""

    format: str
    state: bytes


@dataclass(frozen=True)
class KeptState:
    """The state from which a claimed run continues."""

    state: bytes
    bytes_written: Mapping[str, int]  # by series


@dataclass(frozen=True)
class Swept:
    """What a sweep has found."""

    expired: int  # leases that had ended
    next_expiry_s: float | None  # until the next lease may end
    to_republish: tuple[str, ...]  # queued experiments whose messages are to be sent again
    old_trainers: int = 0  # trainers of version 0 that live and know no schema version


class Attempts:
    """The trainers' side of experiments. Every change is one atomic script; every method may raise StoreUnavailable.

    Args:
        client: the connection.
        lease_s: seconds after which a silent trainer has lost its run.
        prefix: of all keys.
        clock: moves the clock of the scripts; only for tests.
    """

    def __init__(
        self,
        client: redis.Redis,
        lease_s: float = 30.0,
        prefix: str = "gradflow",
        clock: ShiftedClock | None = None,
    ) -> None:
        self._redis = client
        self._lease_s = lease_s
        self._names = Names(prefix)
        self._scripts = Scripts(client, self._names, clock)
        self._damage = DamageLog("experiment")

    @property
    def lease_s(self) -> float:
        """Seconds after which a silent trainer has lost its run."""
        return self._lease_s

    @property
    def scripts(self) -> Scripts:
        """The scripts, over the same client and clock."""
        return self._scripts

    def claim_next(
        self, device: str, trainer: str, compiled: Sequence[str] = (), checkpoints: str = ""
    ) -> Claim | None:
        """Claim the run that is best trained next by this trainer.

        `lua/claim_next.lua` lists the rules of the choice.

        Args:
            device: the device on which it trains.
            trainer: the name of the process.
            compiled: architectures of which it has compiled programs, most recently used first.
            checkpoints: the format of the checkpoints that it reads; a run with another format starts from step 0.

        Returns:
            The claim; None if nothing is queued, or only runs that another trainer will train sooner.
        """
        experiment_id, attempt, damaged = self._scripts.run(
            "claim_next",
            device=device,
            trainer=trainer,
            lease=self._lease_s,
            format=checkpoints,
            join_from_steps=JOIN_FROM_STEPS,
            rest=compiled,
        )
        self._report(damaged)
        return Claim(experiment_id.decode(), attempt) if attempt else None

    def any_queued(self) -> bool:
        """Return whether any run is queued, also one that is best left to another trainer."""
        with redis_errors_as_ours():
            return bool(self._redis.exists(self._names("with_status", Status.QUEUED)))

    def kept_state(self, claim: Claim) -> KeptState | None:
        """Return the state from which a claimed run continues; None if it starts from step 0."""
        with redis_errors_as_ours():
            kept = cast("dict[bytes, bytes]", self._redis.hgetall(self._names("checkpoint", claim.experiment_id)))
        if not kept:
            return None
        lengths = {name.removeprefix(BYTES).decode(): int(n) for name, n in kept.items() if name.startswith(BYTES)}
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
        """Add a chunk to the history and prolong the lease.

        Args:
            experiment_id: the run.
            attempt: its attempt.
            chunk: steps that join the stored history. A repeated chunk changes nothing.
            outcome: metrics of the last completed epoch.
            timing: the seconds measured so far.
            checkpoint: the state after this chunk, from which the next attempt would continue.

        Returns:
            Whether the run is to stop, because its cancellation was requested.

        Raises:
            StaleAttempt: the attempt does not own the run, or the chunk does not join the stored history.
        """
        answer = self._write(
            "append",
            Claim(experiment_id, attempt),
            f"may not write step {chunk.start}",
            lease=self._lease_s,
            step=chunk.stop,
            epoch=chunk.epochs,
            outcome=to_json(outcome),
            timing=to_json(timing or Timing()),
            format="" if checkpoint is None else checkpoint.format,
            state=b"" if checkpoint is None else checkpoint.state,
            rest=[part for piece in chunk.pieces for part in (piece.series, piece.offset, piece.data)],
        )
        return answer is Write.CANCEL_REQUESTED

    def prolong(self, claim: Claim) -> bool:
        """Prolong the lease; return whether the run is to stop, because its cancellation was requested.

        Raises:
            StaleAttempt: the attempt does not own the run.
        """
        return self._write("prolong", claim, "has lost its lease", lease=self._lease_s) is Write.CANCEL_REQUESTED

    def drop_checkpoint(self, claim: Claim) -> bool:
        """Free the memory of the run's checkpoint, for a server that is too full for its history.

        If there must be another attempt before the next checkpoint, it starts from step 0. A run whose cancellation was
        requested ends here: it has nothing to wait for.

        Returns:
            Whether there was a checkpoint.

        Raises:
            StaleAttempt: the attempt does not own the run.
        """
        return self._write("drop_checkpoint", claim, "is over") is Write.DROPPED

    def keep_model(self, experiment_id: str, attempt: int, file: bytes) -> None:
        """Keep the trained model as a `.keras` file.

        Raises:
            StaleAttempt: the attempt does not own the run.
        """
        self._write("keep_model", Claim(experiment_id, attempt), "may not keep a model", file=file)

    def finish(
        self,
        experiment_id: str,
        attempt: int,
        status: Status,
        outcome: Outcome,
        timing: Timing,
        error: str = "",
    ) -> None:
        """End a run. The end is on the server's disk when this returns.

        Raises:
            StaleAttempt: the attempt does not own the run.
        """
        answer = self._scripts.run_durably(
            "finish",
            id=experiment_id,
            attempt=attempt,
            status=status,
            error_text=error,
            outcome=to_json(outcome),
            timing=to_json(timing),
        )
        if Write(answer.decode()) is Write.STALE:
            raise StaleAttempt(f"attempt {attempt} of experiment {experiment_id} may not end it")

    def release(self, claim: Claim) -> None:
        """Leave a run to another trainer, which continues from the last checkpoint; nothing if the attempt is over."""
        self._scripts.run("release", id=claim.experiment_id, attempt=claim.attempt, why="released")

    def lose(self, claim: Claim) -> None:
        """End the attempt of a trainer that is known to be dead, as if its lease had ended."""
        self._scripts.run("release", id=claim.experiment_id, attempt=claim.attempt, why="lost")

    def lose_all(self) -> None:
        """End every attempt, as if its lease had ended. Only for a server that no worker uses."""
        self._report(self._scripts.run("release_all"))

    def sweep(self, pause_s: float, keep_s: float | None = None) -> Swept:
        """Queue runs again whose leases have ended, delete old experiments, and find runs without a message.

        Args:
            pause_s: minimum time in seconds between two searches for runs without a message, over all processes.
            keep_s: experiments that ended longer ago are deleted; None keeps all.

        Returns:
            What was found.
        """
        expired, next_expiry, to_republish, damaged, undeletable, old_trainers = self._scripts.run(
            "sweep",
            queue=EXPERIMENTS_QUEUE,
            pause_s=pause_s,
            keep_s="" if keep_s is None else keep_s,
            max_changes=MAX_SWEPT_AT_ONCE,
            lease=self._lease_s,
            old_trainers=f"{self._names.prefix}:{VERSION_0_TRAINERS}",
        )
        self._report(damaged)
        if undeletable:
            discard(self._redis, self._scripts, self._names, [found.decode() for found in undeletable])
        soonest = float(next_expiry)
        again = tuple(run.decode() for run in to_republish)
        return Swept(expired, None if soonest < 0 else soonest, again, old_trainers)

    def _write(
        self, name: str, claim: Claim, refusal: str, rest: Sequence[str | int | bytes] = (), **arguments: Any
    ) -> Write:
        answer = self._scripts.run(name, id=claim.experiment_id, attempt=claim.attempt, rest=rest, **arguments)
        result = Write(answer.decode())
        if result is Write.STALE:
            raise StaleAttempt(f"attempt {claim.attempt} of experiment {claim.experiment_id} {refusal}")
        return result

    def _report(self, damaged: Sequence[bytes]) -> None:
        for experiment_id in damaged:
            self._damage.report(experiment_id.decode(errors="replace"), UNREADABLE_RUN)
