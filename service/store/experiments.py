"""Experiments in Redis. The names of all keys are in `service.store.names`."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import cast

import redis

from service.contract.data_spec import DataShape, UploadData
from service.contract.errors import Conflict, DamagedRecord, InvalidSpec, KeyReused, NotFound
from service.contract.gradient_norm_layout import GradientNormLayout
from service.contract.record import ExperimentRecord, Status
from service.contract.resolved_spec import ResolvedSpec
from service.store.admission import NO_LIMITS, Admission
from service.store.clock import ShiftedClock
from service.store.connection import redis_errors_as_ours
from service.store.damage import DamageLog, discard, hashes
from service.store.listing import Page, newest
from service.store.names import Names
from service.store.request_key import REMEMBERED_S, RequestKey, created_before, request_arguments
from service.store.results import Creation, Deletion
from service.store.schema import SCHEMA_VERSION
from service.store.script_runner import Scripts
from service.store.stored_record import moment, progress_of, record_of
from service.store.tenants import TenantView

BATCH = 200  # records that a filtered list reads at once


@dataclass(frozen=True)
class NewExperiment:
    """An experiment that is to be queued, alone or as a run of a study."""

    resolved: ResolvedSpec
    shape: DataShape
    warnings: tuple[str, ...]
    architecture: str  # of its compiled program (service.contract.architecture); '' for one that is shared by none
    steps: int
    norms: GradientNormLayout
    history_bytes: int  # reserved until it has ended

    @property
    def dataset(self) -> str:
        """The id of the uploaded data set that it reads, or ''."""
        data = self.resolved.spec.data
        return data.dataset_id if isinstance(data, UploadData) else ""


class Experiments(TenantView):
    """Experiments in Redis. Every change is one atomic script; every method may raise StoreUnavailable.

    Args:
        client: the connection.
        prefix: of all keys.
        clock: moves the clock of the scripts; only for tests.
    """

    _kind = "experiment"

    def __init__(self, client: redis.Redis, prefix: str = "gradflow", clock: ShiftedClock | None = None) -> None:
        self._redis = client
        self._names = Names(prefix)
        self._scripts = Scripts(client, self._names, clock)
        self._damage = DamageLog(self._kind)

    @property
    def client(self) -> redis.Redis:
        """The connection, for other stores on the same server."""
        return self._redis

    def create(
        self,
        experiment_id: str,
        new: NewExperiment,
        request: RequestKey | None = None,
        admission: Admission = NO_LIMITS,
    ) -> ExperimentRecord:
        """Queue an experiment. An earlier request with the same key gives the record that it created.

        Args:
            experiment_id: a new id.
            new: what is to be queued.
            request: the name of the request, which may be repeated.
            admission: limits that the server must keep with it.

        Returns:
            The record, with another id if an earlier request created it.

        Raises:
            KeyReused: the request's key came with another body before.
            StoreFull: the admission does not allow it.
            InvalidSpec: its data set does not exist.
            Conflict: the id is taken.
        """
        code, text = self._scripts.run_durably(
            "create_experiment",
            id=experiment_id,
            spec=new.resolved.text,
            warnings=json.dumps(list(new.warnings)),
            shape=new.shape.model_dump_json(),
            dataset=new.dataset,
            architecture=new.architecture,
            steps=new.steps,
            bytes=new.history_bytes,
            remembered_s=REMEMBERED_S,
            tenant=self._tenant,
            rest=new.resolved.spec.tags,
            **request_arguments(request, self._names, self._tenant),
            **admission.arguments,
        )
        match Creation(code.decode()):
            case Creation.REPEATED:
                return self.get(text.decode())
            case Creation.TOO_MANY_QUEUED | Creation.TOO_MANY_BYTES as refused:
                raise admission.refusal(refused)
            case Creation.OTHER_BODY:
                raise KeyReused
            case Creation.NO_DATASET:
                raise InvalidSpec(("data", "dataset_id"), f"there is no data set {new.dataset}")
            case Creation.ID_TAKEN:
                raise Conflict(f"experiment {experiment_id} exists already")
        return ExperimentRecord(
            id=experiment_id,
            status=Status.QUEUED,
            spec=new.resolved.spec,
            shape=new.shape,
            progress=progress_of(new.resolved.spec, new.shape),
            created_at=moment(text),
            warnings=new.warnings,
        )

    def remembered(self, request: RequestKey) -> ExperimentRecord | None:
        """Return what an earlier request with the same key created, if it still exists.

        Raises:
            KeyReused: the request's key came with another body before.
        """
        created = created_before(self._scripts, request, self._names, self._tenant)
        return None if created is None else self.get(created)

    def get(self, experiment_id: str) -> ExperimentRecord:
        """Return the record of an experiment.

        Raises:
            NotFound: there is none.
            DamagedRecord: it cannot be read.
        """
        return record_of(experiment_id, self._fields(experiment_id, self._names("record", experiment_id)))

    def page(
        self, *, status: Status | None, tag: str | None, limit: int, before: str | None, study: str | None = None
    ) -> Page[ExperimentRecord]:
        """List experiments, newest first. Damaged ones are counted and left out.

        Args:
            status: only those with this status.
            tag: only those with this tag.
            limit: the most records.
            before: only those with smaller ids.
            study: only the runs of this study.

        Returns:
            One page.
        """
        if study is not None:
            index = self._index("of_study", study)
        elif tag is not None:
            index = self._index("with_tag", tag)
        elif status is not None:
            index = self._index("with_status", status)
        else:
            index = self._index("experiments")
        records: list[ExperimentRecord] = []
        damaged: list[str] = []
        position = before
        filtered = (status is not None and (tag is not None or study is not None)) or (tag and study)
        while len(records) <= limit:
            batch = newest(self._redis, index, position, BATCH if filtered else limit + 1 - len(records))
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
        """Cancel a queued experiment at once, and ask a running one to stop at its next chunk.

        Returns:
            Whether it had not ended before.

        Raises:
            NotFound: there is none.
            DamagedRecord: it cannot be read.
        """
        self.get(experiment_id)  # raises for a record that the tenant may not see
        before = self._scripts.run("cancel_experiment", id=experiment_id).decode()
        if not before:
            raise self._missing(experiment_id)
        return not Status(before).ended

    def delete(self, experiment_id: str) -> None:
        """Delete an experiment and its history.

        Raises:
            NotFound: there is none.
            Conflict: it is running, and its record can be read.
        """
        try:
            tags = self.get(experiment_id).spec.tags
        except DamagedRecord:
            discard(self._redis, self._scripts, self._names, [experiment_id])
            return
        match Deletion(self._scripts.run("delete_experiment", id=experiment_id, rest=tags).decode()):
            case Deletion.MISSING:
                raise self._missing(experiment_id)
            case Deletion.RUNNING:
                raise Conflict("the experiment is running; cancel it first")

    def series(self, experiment_id: str, name: str, row_bytes: int, start: int = 0, stop: int | None = None) -> bytes:
        """Read a series of the history (`service.contract.history_format`).

        Args:
            experiment_id: the experiment.
            name: the series.
            row_bytes: bytes of one row, which is a recorded step or an epoch.
            start: the first row.
            stop: the row after the last one; None for all that exist.

        Returns:
            The packed rows that exist.
        """
        if stop is not None and stop <= start:
            return b""
        key, last = self._names("series", experiment_id, name), -1 if stop is None else stop * row_bytes - 1
        with redis_errors_as_ours():
            return cast("bytes", self._redis.getrange(key, start * row_bytes, last))

    def pieces(self, name: str, ranges: Mapping[str, Sequence[tuple[int, int]]]) -> dict[str, list[bytes]]:
        """Read ranges of bytes of one series of several experiments, in one round trip.

        Args:
            name: the series.
            ranges: by experiment, the first and the last byte of each range; negative ones count from the end.

        Returns:
            By experiment, the bytes of each range.
        """
        with redis_errors_as_ours():
            pipeline = self._redis.pipeline(transaction=False)
            for experiment_id, wanted in ranges.items():
                for first, last in wanted:
                    pipeline.getrange(self._names("series", experiment_id, name), first, last)
            found = iter(cast("list[bytes]", pipeline.execute()))
        return {experiment_id: list(islice(found, len(wanted))) for experiment_id, wanted in ranges.items()}

    def rows(self, experiment_id: str, name: str, row_bytes: int) -> int:
        """Return how many whole rows of `row_bytes` bytes a series has so far."""
        with redis_errors_as_ours():
            return self._redis.strlen(self._names("series", experiment_id, name)) // row_bytes

    def model(self, experiment_id: str) -> bytes:
        """Return the trained model as a `.keras` file.

        Raises:
            NotFound: none was kept, or not yet.
        """
        record = self.get(experiment_id)
        with redis_errors_as_ours():
            found = cast("bytes | None", self._redis.get(self._names("model", experiment_id)))
        if found is None:
            raise NotFound(_why_no_model(record))
        return found

    def queued(self) -> list[str]:
        """Return the ids of all queued experiments of all tenants, oldest first."""
        with redis_errors_as_ours():
            found = self._redis.zrange(self._names("with_status", Status.QUEUED), 0, -1)
        return [experiment_id.decode() for experiment_id in cast("list[bytes]", found)]

    # ---------------------------------------------------------------- training processes

    def announce_trainer(self, name: str, seconds: float) -> None:
        """Record that the training process `name` lives for the next `seconds`."""
        self._scripts.run("announce_trainer", schema=SCHEMA_VERSION, name=name, seconds=seconds)

    def trainer_names(self) -> list[str]:
        """Return the names of the training processes that live, idle or busy."""
        return [name.decode() for name in self._scripts.run("live_trainers", schema=SCHEMA_VERSION)]

    def withdraw_trainers(self) -> None:
        """Forget every training process. Only for a server that no worker uses."""
        with redis_errors_as_ours():
            self._redis.delete(self._names("trainers", SCHEMA_VERSION))

    # ---------------------------------------------------------------- within

    def _records(self, ids: Sequence[str]) -> tuple[list[ExperimentRecord], list[str]]:
        found = hashes(self._redis, [self._names("record", experiment_id) for experiment_id in ids])
        return self._damage.readable(zip(ids, found, strict=True), record_of)


def _why_no_model(record: ExperimentRecord) -> str:
    if not record.spec.recording.keep_model:
        return "the model was not kept: set recording.keep_model"
    if not record.status.ended:
        return f"there is no model yet: the experiment is {record.status}"
    return f"there is no model: the experiment ended as {record.status}"
