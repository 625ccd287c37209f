"""The one owner of the keys of experiments in Redis (`service.store.datasets` owns those of data sets).

Keys, under a prefix (`gradflow`):

    gradflow:{ID}:record            hash: everything in ExperimentRecord that cannot be computed from the spec
    gradflow:{ID}:gradient_norm     string: packed (`service.contract.history_format`); one for each series
    gradflow:{ID}:model             string: the trained model as a .keras file, where it is kept
    gradflow:ended                  sorted set of ended experiments by the time at which they did
    gradflow:experiments            sorted set of ids, which sort by time; beside it one for each status and tag, and
                                    the same for each tenant (`service.store.tenants`)
    gradflow:queued                 sorted set of queued single experiments; a study's are in one for each architecture
    gradflow:queued:architectures   sorted set of the latter's architectures, by the time at which each began to wait
    gradflow:trainers               sorted set of training processes by the time until which they are known to live
"""

import json
import secrets
import time
from collections.abc import Mapping, Sequence
from itertools import islice
from typing import cast

import redis

from service.contract.data_shape import shape_of
from service.contract.data_spec import DataShape, UploadData
from service.contract.errors import Conflict, DamagedRecord, InvalidSpec, KeyReused, NotFound
from service.contract.history_format import SERIES
from service.contract.record import ExperimentRecord, Status
from service.contract.resolved_spec import ResolvedSpec
from service.store import scripts
from service.store.admission import ANY, TOO_LARGE, TOO_MANY, Admission
from service.store.connection import redis_errors_as_ours
from service.store.damage import DamageLog, discard, hashes
from service.store.listing import Page, newest
from service.store.request_key import REMEMBERED_S, RequestKey, made_before
from service.store.script_runner import Scripts
from service.store.stored_record import moment, progress_of, record_of
from service.store.tenants import TenantView

PAGE = 200
SCRIPTS = ("CREATE", "REMEMBERED", "CANCEL", "DELETE", "DISCARD")


def new_id() -> str:
    """24 hexadecimal digits; later ids sort after earlier ones, to the millisecond."""
    return f"{time.time_ns() // 1_000_000:012x}{secrets.token_hex(6)}"


class Experiments(TenantView):
    """Experiments in Redis. Every change is one atomic script; every method may raise StoreUnavailable."""

    _kind = "experiment"

    def __init__(self, client: redis.Redis, prefix: str = "gradflow") -> None:
        self._redis = client
        self._prefix = prefix
        self._scripts = Scripts(client, prefix, {name: getattr(scripts, name) for name in SCRIPTS})
        self._damage = DamageLog(self._kind)

    def create(
        self,
        experiment_id: str,
        resolved: ResolvedSpec,
        warnings: Sequence[str] = (),
        shape: DataShape | None = None,
        architecture: str = "",
        history_bytes: int = 0,
        request: RequestKey | None = None,
        admission: Admission = ANY,
    ) -> ExperimentRecord:
        """Write a queued record; `shape` is that of its data where they were uploaded.

        Others know by the architecture, if it is said, that somebody is at it (`service.contract.architecture`). A
        request that was made before gives the record that it made then.

        Raises:
            KeyReused: the request's key stands for another body.
            StoreFull: the admission does not allow it.
            InvalidSpec: its data set is not there.
        """
        spec, data = resolved.spec, resolved.spec.data
        dataset = data.dataset_id if isinstance(data, UploadData) else ""
        shape = shape or shape_of(data)
        progress = progress_of(spec, shape)
        words, steps = json.dumps(list(warnings)), progress.total_steps
        texts = resolved.text, words, shape.model_dump_json()
        named = ("", "") if request is None else request.of_tenant(self._tenant)
        limits = (*named, REMEMBERED_S, *admission.arguments)
        made = (*texts, dataset, architecture, steps, history_bytes, *limits, self._tenant, *spec.tags)
        created = self._scripts.run_durably("CREATE", experiment_id, *made)
        if isinstance(created, list):
            return self.get(created[0].decode())
        if created in (TOO_MANY, TOO_LARGE):
            raise admission.refusal(created)
        if created == -2:
            raise KeyReused
        if created == -1:
            raise InvalidSpec(("data", "dataset_id"), f"there is no data set {dataset}")
        if not created:
            raise Conflict(f"experiment {experiment_id} exists already")
        return ExperimentRecord(
            id=experiment_id,
            status=Status.QUEUED,
            spec=spec,
            shape=shape,
            progress=progress,
            created_at=moment(created),
            warnings=tuple(warnings),
        )

    def remembered(self, request: RequestKey) -> ExperimentRecord | None:
        """What the same request has made before, if it is still there.

        Raises:
            KeyReused: the request's key stands for another body.
        """
        made = made_before(self._scripts, request, self._tenant)
        return None if made is None else self.get(made)

    def get(self, experiment_id: str) -> ExperimentRecord:
        """The record of an experiment.

        Raises:
            NotFound: there is none.
            DamagedRecord: it cannot be read.
        """
        return record_of(experiment_id, self._fields(experiment_id, self._key(experiment_id, "record")))

    def page(
        self, *, status: Status | None, tag: str | None, limit: int, before: str | None, study: str | None = None
    ) -> Page[ExperimentRecord]:
        """Up to `limit` records, newest first, older than the id `before`; damaged ones are counted and left out."""
        if study is not None:
            index = self._index(f"experiments:study:{study}")
        elif tag is not None:
            index = self._index(f"experiments:tag:{tag}")
        elif status is not None:
            index = self._index(f"experiments:status:{status}")
        else:
            index = self._index("experiments")
        records: list[ExperimentRecord] = []
        damaged: list[str] = []
        position = before
        filtered = (status is not None and (tag is not None or study is not None)) or (tag and study)
        while len(records) <= limit:
            batch = newest(self._redis, index, position, PAGE if filtered else limit + 1 - len(records))
            if not batch:
                break
            position = batch[-1]
            readable, unreadable = self._records(batch)
            damaged += unreadable
            records.extend(
                record
                for record in readable
                if (status is None or record.status == status)
                and (tag is None or study is None or tag in record.spec.tags)
            )
        shown = tuple(records[:limit])
        if len(records) <= limit:
            return Page(shown, None, len(damaged))
        return Page(shown, shown[-1].id, sum(found > shown[-1].id for found in damaged))

    def cancel(self, experiment_id: str) -> bool:
        """Ask a run to stop; whether it had not ended before.

        A queued one is cancelled at once, a running one at its next chunk.
        """
        self.get(experiment_id)  # of a tenant who may cancel it
        before = self._scripts.run("CANCEL", experiment_id)
        if before is None:
            raise NotFound(f"there is no experiment {experiment_id}")
        return not Status(before.decode()).ended

    def delete(self, experiment_id: str) -> None:
        """Forget an experiment and its history.

        Raises:
            NotFound: there is none.
            Conflict: it is running, and its record can be read.
        """
        try:
            tags = self.get(experiment_id).spec.tags
        except DamagedRecord:
            discard(self._redis, self._scripts, self._prefix, [experiment_id])
            return
        deleted = self._scripts.run("DELETE", experiment_id, *tags)
        if deleted == -1:
            raise NotFound(f"there is no experiment {experiment_id}")
        if deleted == 0:
            raise Conflict("the experiment is running; cancel it first")

    def series(self, experiment_id: str, name: str, row_bytes: int, start: int = 0, stop: int | None = None) -> bytes:
        """Rows `start` to `stop` (half open, None: all there are) of a series of `service.contract.history_format`."""
        if stop is not None and stop <= start:
            return b""
        key, last = self._key(experiment_id, name), -1 if stop is None else stop * row_bytes - 1
        with redis_errors_as_ours():
            return cast("bytes", self._redis.getrange(key, start * row_bytes, last))

    def pieces(self, name: str, ranges: Mapping[str, Sequence[tuple[int, int]]]) -> dict[str, list[bytes]]:
        """Ranges of bytes of a series of each experiment, by its id; both ends are included."""
        with redis_errors_as_ours():
            pipeline = self._redis.pipeline(transaction=False)
            for experiment_id, wanted in ranges.items():
                for first, last in wanted:
                    pipeline.getrange(self._key(experiment_id, name), first, last)
            found = iter(cast("list[bytes]", pipeline.execute()))
        return {experiment_id: list(islice(found, len(wanted))) for experiment_id, wanted in ranges.items()}

    def rows(self, experiment_id: str, name: str, row_bytes: int) -> int:
        """How many rows a series has so far."""
        with redis_errors_as_ours():
            return self._redis.strlen(self._key(experiment_id, name)) // row_bytes

    def model(self, experiment_id: str) -> bytes:
        """The trained model as a `.keras` file.

        Raises:
            NotFound: none was kept, or not yet.
        """
        record = self.get(experiment_id)
        with redis_errors_as_ours():
            found = cast("bytes | None", self._redis.get(self._key(experiment_id, "model")))
        if found is None:
            raise NotFound(self._why_no_model(record))
        return found

    def queued(self) -> list[str]:
        """Ids of all queued experiments, oldest first."""
        return self._all(f"{self._prefix}:experiments:status:{Status.QUEUED}")

    def bytes_used(self, experiment_id: str) -> int:
        """Memory that one experiment takes in Redis, with all overhead but its index entries."""
        with redis_errors_as_ours():
            names = ("record", *SERIES, "model", "checkpoint")
            return sum(self._redis.memory_usage(self._key(experiment_id, n), samples=0) or 0 for n in names)

    # ---------------------------------------------------------------- training processes

    def announce_trainer(self, name: str, seconds: float) -> None:
        """Say that the training process `name` lives for the next `seconds`."""
        key = f"{self._prefix}:trainers"
        with redis_errors_as_ours():
            now = self._now()
            self._redis.zadd(key, {name: now + seconds})
            self._redis.zremrangebyscore(key, "-inf", now)

    def trainer_names(self) -> list[str]:
        """Training processes that are ready for work, or at it, as they announced themselves."""
        with redis_errors_as_ours():
            found = self._redis.zrangebyscore(f"{self._prefix}:trainers", self._now(), "+inf")
        return [name.decode() for name in cast("list[bytes]", found)]

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

    @staticmethod
    def _why_no_model(record: ExperimentRecord) -> str:
        if not record.spec.recording.keep_model:
            return "the model was not kept: set recording.keep_model"
        if not record.status.ended:
            return f"there is no model yet: the experiment is {record.status}"
        return f"there is no model: the experiment ended as {record.status}"

    def _all(self, index: str) -> list[str]:
        with redis_errors_as_ours():
            return [i.decode() for i in cast("list[bytes]", self._redis.zrange(index, 0, -1))]

    def _records(self, ids: Sequence[str]) -> tuple[list[ExperimentRecord], list[str]]:
        found = hashes(self._redis, [self._key(experiment_id, "record") for experiment_id in ids])
        return self._damage.readable(zip(ids, found, strict=True), record_of)
