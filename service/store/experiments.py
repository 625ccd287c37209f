"""Experiments in Redis. The names of all keys are in `service.store.names`."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

from service.contract.data_spec import DataShape, UploadData
from service.contract.errors import Conflict, DamagedRecord, InvalidSpec, KeyReused
from service.contract.gradient_norm_layout import GradientNormLayout
from service.contract.record import ExperimentRecord, Status
from service.contract.resolved_spec import ResolvedSpec
from service.store.admission import NO_LIMITS, Admission
from service.store.connection import redis_errors_as_ours
from service.store.damage import hashes
from service.store.experiment_handle import ExperimentHandle
from service.store.listing import Page, newest
from service.store.request_key import REMEMBERED_S, RequestKey, created_before, request_arguments
from service.store.results import Creation
from service.store.schema import SCHEMA_VERSION
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
    """Experiments in Redis. Every change is one atomic script; every method may raise StoreUnavailable."""

    _kind = "experiment"

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

    def open(self, experiment_id: str) -> ExperimentHandle:
        """Return the handle of an experiment, through which everything of it is read and changed.

        Raises:
            NotFound: there is none, or it belongs to another tenant.
        """

        def read() -> dict[bytes, bytes]:
            return self._fields(experiment_id, self._names("record", experiment_id))

        try:
            fields = read()
        except DamagedRecord:
            fields = {}
        return ExperimentHandle(experiment_id, fields, read, self._redis, self._names, self._scripts)

    def get(self, experiment_id: str) -> ExperimentRecord:
        """Return the record of an experiment.

        Raises:
            NotFound: there is none, or it belongs to another tenant.
            DamagedRecord: it cannot be read.
        """
        return self.open(experiment_id).record

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
