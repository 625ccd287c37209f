"""The one owner of the keys of experiments in Redis (`service.contract.datasets` owns those of data sets).

Keys, under a prefix (`gradflow`):

    gradflow:{ID}:record            hash: everything in ExperimentRecord that cannot be computed from the spec
    gradflow:{ID}:gradient_norm     string: packed (`service.contract.history`); one for each series
    gradflow:{ID}:model             string: the trained model as a .keras file, where it is kept
    gradflow:experiments            sorted set of ids, which sort by time; beside it one for each status and tag
    gradflow:trainers               sorted set of training processes by the time until which they are known to live
"""

import json
import secrets
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, cast

import redis
from pydantic_core import to_json

from service.contract import scripts
from service.contract.connection import redis_errors_as_ours
from service.contract.data_shape import shape_of
from service.contract.data_spec import DataShape, UploadData
from service.contract.errors import Conflict, InvalidSpec, NotFound, StaleAttempt
from service.contract.history import SERIES, HistoryChunk
from service.contract.record import ExperimentRecord, Outcome, Progress, Status, Timing
from service.contract.spec import ExperimentSpec
from service.contract.workload import workload

PAGE = 200


@dataclass(frozen=True)
class Page:
    """Some experiments, newest first; `next_before` is the id to go on from, or None at the end."""

    records: tuple[ExperimentRecord, ...]
    next_before: str | None


def new_id() -> str:
    """24 hexadecimal digits; later ids sort after earlier ones, to the millisecond."""
    return f"{time.time_ns() // 1_000_000:012x}{secrets.token_hex(6)}"


class Store:
    """Experiments in Redis. Every change is one atomic script; every method may raise StoreUnavailable."""

    def __init__(self, client: redis.Redis, prefix: str = "gradflow") -> None:
        self._redis = client
        self._prefix = prefix
        self._scripts = {
            name: client.register_script(getattr(scripts, name))
            for name in ("CREATE", "CLAIM", "APPEND", "KEEP_MODEL", "FINISH", "CANCEL", "DELETE", "REQUEUE")
        }

    # ---------------------------------------------------------------- the service's side

    def create(
        self,
        experiment_id: str,
        spec: ExperimentSpec,
        warnings: Sequence[str] = (),
        shape: DataShape | None = None,
    ) -> None:
        """Write a queued record; `spec` must be resolved, `shape` is that of its data where they were uploaded.

        Raises:
            InvalidSpec: its data set is not there.
        """
        data = spec.data
        dataset = data.dataset_id if isinstance(data, UploadData) else ""
        shape = shape or shape_of(data)
        words = json.dumps(list(warnings))
        created = self._run(
            "CREATE", experiment_id, spec.model_dump_json(), words, shape.model_dump_json(), dataset, *spec.tags
        )
        if created == -1:
            raise InvalidSpec(("data", "dataset_id"), f"there is no data set {dataset}")
        if not created:
            raise Conflict(f"experiment {experiment_id} exists already")

    def get(self, experiment_id: str) -> ExperimentRecord:
        """The record of an experiment.

        Raises:
            NotFound: there is none.
        """
        with redis_errors_as_ours():
            fields = cast("dict[bytes, bytes]", self._redis.hgetall(self._key(experiment_id, "record")))
        if not fields:
            raise NotFound(f"there is no experiment {experiment_id}")
        return self._record(experiment_id, fields)

    def page(self, *, status: Status | None, tag: str | None, limit: int, before: str | None) -> Page:
        """Up to `limit` records, newest first, older than the id `before`."""
        if tag is not None:
            index = f"{self._prefix}:experiments:tag:{tag}"
        elif status is not None:
            index = f"{self._prefix}:experiments:status:{status}"
        else:
            index = f"{self._prefix}:experiments"
        records: list[ExperimentRecord] = []
        position = before
        filtered = tag is not None and status is not None
        while len(records) <= limit:
            batch = self._older(index, position, PAGE if filtered else limit + 1 - len(records))
            if not batch:
                break
            position = batch[-1]
            records.extend(r for r in self._records(batch) if status is None or r.status == status)
        shown = tuple(records[:limit])
        return Page(shown, shown[-1].id if len(records) > limit else None)

    def cancel(self, experiment_id: str) -> bool:
        """Ask a run to stop; whether it had not ended before.

        A queued one is cancelled at once, a running one at its next chunk.
        """
        before = self.get(experiment_id)
        status = self._run("CANCEL", experiment_id)
        if status is None:
            raise NotFound(f"there is no experiment {experiment_id}")
        return not before.status.ended

    def delete(self, experiment_id: str) -> None:
        """Forget an experiment and its history.

        Raises:
            Conflict: it is running.
        """
        deleted = self._run("DELETE", experiment_id, *self.get(experiment_id).spec.tags)
        if deleted == -1:
            raise NotFound(f"there is no experiment {experiment_id}")
        if deleted == 0:
            raise Conflict("the experiment is running; cancel it first")

    def series(self, experiment_id: str, name: str, row_bytes: int, start: int = 0, stop: int | None = None) -> bytes:
        """Rows `start` to `stop` (half open, None: all there are) of a series of `service.contract.history`."""
        if stop is not None and stop <= start:
            return b""
        key, last = self._key(experiment_id, name), -1 if stop is None else stop * row_bytes - 1
        with redis_errors_as_ours():
            return cast("bytes", self._redis.getrange(key, start * row_bytes, last))

    def model(self, experiment_id: str) -> bytes:
        """The trained model as a `.keras` file.

        Raises:
            NotFound: none was kept, or not yet.
        """
        with redis_errors_as_ours():
            found = cast("bytes | None", self._redis.get(self._key(experiment_id, "model")))
        if found is None:
            raise NotFound(self._why_no_model(self.get(experiment_id)))
        return found

    def requeue_running(self) -> None:
        """Queue whatever runs again, from its first step. Only for a store that no worker uses."""
        for experiment_id in self._all(f"{self._prefix}:experiments:status:{Status.RUNNING}"):
            self._run("REQUEUE", experiment_id)

    def queued(self) -> list[str]:
        """Ids of all queued experiments, oldest first."""
        return self._all(f"{self._prefix}:experiments:status:{Status.QUEUED}")

    def trainer_names(self) -> list[str]:
        """Training processes that are ready for work, or at it, as they announced themselves."""
        with redis_errors_as_ours():
            found = self._redis.zrangebyscore(f"{self._prefix}:trainers", self._now(), "+inf")
        return [name.decode() for name in cast("list[bytes]", found)]

    def bytes_used(self, experiment_id: str) -> int:
        """Memory that one experiment takes in Redis, with all overhead but its index entries."""
        with redis_errors_as_ours():
            names = ("record", *SERIES, "model")
            return sum(self._redis.memory_usage(self._key(experiment_id, n), samples=0) or 0 for n in names)

    # ---------------------------------------------------------------- the worker's side

    def claim(self, experiment_id: str, device: str) -> int | None:
        """Take a queued run; the number of the attempt, or None where there is nothing to take."""
        return self._run("CLAIM", experiment_id, device) or None

    def append(self, experiment_id: str, attempt: int, chunk: HistoryChunk, outcome: Outcome) -> bool:
        """Add a chunk to the history; whether a cancel was asked for.

        Raises:
            StaleAttempt: the run is not this attempt's any more, or the chunk does not join the stored history.
        """
        pieces = [part for piece in chunk.pieces for part in (piece.series, piece.offset, piece.data)]
        answer = self._run("APPEND", experiment_id, attempt, chunk.stop, chunk.epochs, to_json(outcome), *pieces)
        if answer == -1:
            raise StaleAttempt(f"attempt {attempt} of experiment {experiment_id} may not write step {chunk.start}")
        return bool(answer)

    def keep_model(self, experiment_id: str, attempt: int, file: bytes) -> None:
        """Keep the trained model as a `.keras` file.

        Raises:
            StaleAttempt: the run is not this attempt's any more.
        """
        if not self._run("KEEP_MODEL", experiment_id, attempt, file):
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
        """End a run.

        Raises:
            StaleAttempt: the run is not this attempt's any more.
        """
        if not self._run("FINISH", experiment_id, attempt, status, error, to_json(outcome), to_json(timing)):
            raise StaleAttempt(f"attempt {attempt} of experiment {experiment_id} may not end it")

    def announce_trainer(self, name: str, seconds: float) -> None:
        """Say that the training process `name` lives for the next `seconds`."""
        key = f"{self._prefix}:trainers"
        with redis_errors_as_ours():
            now = self._now()
            self._redis.zadd(key, {name: now + seconds})
            self._redis.zremrangebyscore(key, "-inf", now)

    def withdraw_trainers(self) -> None:
        """Forget every training process. Only for a store that no worker uses."""
        with redis_errors_as_ours():
            self._redis.delete(f"{self._prefix}:trainers")

    # ---------------------------------------------------------------- within

    def _now(self) -> float:
        seconds, microseconds = self._redis.time()
        return seconds + microseconds / 1e6

    def _key(self, experiment_id: str, name: str) -> str:
        return f"{self._prefix}:{{{experiment_id}}}:{name}"

    def _run(self, script: str, experiment_id: str, *arguments: Any) -> Any:
        with redis_errors_as_ours():
            answer = self._scripts[script](args=[self._prefix, experiment_id, *arguments])
        return answer.decode() if isinstance(answer, bytes) else answer

    @staticmethod
    def _why_no_model(record: ExperimentRecord) -> str:
        if not record.spec.recording.keep_model:
            return "the model was not kept: set recording.keep_model"
        if not record.status.ended:
            return f"there is no model yet: the experiment is {record.status}"
        return f"there is no model: the experiment ended as {record.status}"

    def _older(self, index: str, before: str | None, count: int) -> list[str]:
        with redis_errors_as_ours():
            ids = self._redis.zrange(
                index,
                "+" if before is None else f"({before}",
                "-",
                desc=True,
                bylex=True,
                offset=0,
                num=count,
            )
        return [i.decode() for i in cast("list[bytes]", ids)]

    def _all(self, index: str) -> list[str]:
        with redis_errors_as_ours():
            return [i.decode() for i in cast("list[bytes]", self._redis.zrange(index, 0, -1))]

    def _records(self, ids: Sequence[str]) -> list[ExperimentRecord]:
        with redis_errors_as_ours():
            pipeline = self._redis.pipeline(transaction=False)
            for experiment_id in ids:
                pipeline.hgetall(self._key(experiment_id, "record"))
            found = pipeline.execute()
        return [self._record(i, fields) for i, fields in zip(ids, found, strict=True) if fields]

    def _record(self, experiment_id: str, fields: dict[bytes, bytes]) -> ExperimentRecord:
        text = {name.decode(): value.decode() for name, value in fields.items()}
        spec = _spec(text["spec"])
        shape = DataShape.model_validate_json(text["shape"]) if "shape" in text else shape_of(spec.data)
        created, started = float(text["created_at"]), text.get("started_at")
        timing = Timing.model_validate_json(text.get("timing", "{}"))
        if started is not None:
            timing = timing.model_copy(update={"queued_s": round(float(started) - created, 6)})
        return ExperimentRecord(
            id=experiment_id,
            status=Status(text["status"]),
            spec=spec,
            shape=shape,
            progress=Progress(
                step=int(text.get("step", 0)),
                total_steps=workload(spec, shape.samples).total_steps,
                epoch=int(text.get("epoch", 0)),
                epochs=spec.training.epochs,
            ),
            outcome=Outcome.model_validate_json(text.get("outcome", "{}")),
            attempts=int(text.get("attempts", 0)),
            error=text.get("error"),
            timing=timing,
            device=text.get("device"),
            cancel_requested=text.get("cancel_requested") == "1",
            created_at=_moment(text["created_at"]),
            started_at=_moment(started) if started is not None else None,
            finished_at=_moment(text["finished_at"]) if "finished_at" in text else None,
            warnings=tuple(json.loads(text["warnings"])),
        )


@lru_cache(maxsize=64)
def _spec(text: str) -> ExperimentSpec:
    """A stored spec; a run is asked for again and again, and a network of one's own takes milliseconds to read."""
    return ExperimentSpec.model_validate_json(text)


def _moment(seconds: str) -> datetime:
    return datetime.fromtimestamp(float(seconds), tz=UTC)
