"""Studies in Redis; their runs are experiments (`service.store.experiments`)."""

import json
from collections.abc import Sequence

import redis

from service.contract.errors import DamagedRecord, InvalidSpec, KeyReused
from service.contract.study_spec import StudySpec
from service.store.admission import NO_LIMITS, Admission
from service.store.clock import ShiftedClock
from service.store.damage import DamageLog, Fields, damage_named
from service.store.experiments import NewExperiment
from service.store.ids import Ids
from service.store.listing import Page, page_of
from service.store.request_key import REMEMBERED_S, RequestKey, created_before, request_arguments
from service.store.results import Creation
from service.store.stored_record import moment
from service.store.study_handle import Study, StudyHandle
from service.store.tenants import TenantView


class Studies(TenantView):
    """Studies in Redis. Every change is one atomic script; every method may raise StoreUnavailable.

    Args:
        client: the connection.
        prefix: of all keys.
        clock: moves the clock of the scripts; only for tests.
        ids: makes the ids of studies and their runs.
    """

    _kind = "study"

    def __init__(
        self,
        client: redis.Redis,
        prefix: str = "gradflow",
        clock: ShiftedClock | None = None,
        ids: Ids | None = None,
    ) -> None:
        super().__init__(client, prefix, clock)
        self._ids = ids or Ids()
        self._damaged_runs = DamageLog("experiment")

    def create(
        self,
        spec: StudySpec,
        runs: Sequence[NewExperiment],
        tags: Sequence[str],
        warnings: Sequence[str],
        request: RequestKey | None = None,
        admission: Admission = NO_LIMITS,
    ) -> tuple[StudyHandle, list[str]]:
        """Queue all runs of a study, or none. An earlier request with the same key gives the study that it created.

        Args:
            spec: of the study.
            runs: its experiments in the grid's order.
            tags: of its experiments.
            warnings: of the study.
            request: the name of the request, which may be repeated.
            admission: limits that the server must keep with it.

        Returns:
            The study, and the ids of its runs in the grid's order; no ids if an earlier request created it.

        Raises:
            KeyReused: the request's key came with another body before.
            StoreFull: the admission does not allow it.
            InvalidSpec: a data set of its runs does not exist.
        """
        study_id, ids = self._ids.new_study(len(runs))
        code, text = self._scripts.run_durably(
            "create_study",
            study=study_id,
            spec=spec.model_dump_json(),
            remembered_s=REMEMBERED_S,
            tenant=self._tenant,
            warnings=json.dumps(list(warnings)),
            tag_count=len(tags),
            rest=[*tags, *(value for run_id, run in zip(ids, runs, strict=True) for value in _values_of(run_id, run))],
            **request_arguments(request, self._names, self._tenant),
            **admission.arguments,
        )
        match Creation(code.decode()):
            case Creation.REPEATED:
                return self.open(text.decode()), []
            case Creation.TOO_MANY_QUEUED | Creation.TOO_MANY_BYTES as refused:
                raise admission.refusal(refused)
            case Creation.OTHER_BODY:
                raise KeyReused
            case Creation.NO_DATASET:
                raise InvalidSpec(("base", "data", "dataset_id"), "there is no such data set any more")
        study = Study(study_id, spec, moment(text), False, tuple(warnings))
        return self._handle(study_id, study), ids

    def remembered(self, request: RequestKey) -> StudyHandle | None:
        """The study that the same request has created before, if it still exists.

        Raises:
            KeyReused: the key was used with another body.
        """
        created = created_before(self._scripts, request, self._names, self._tenant)
        return None if created is None else self.open(created)

    def open(self, study_id: str) -> StudyHandle:
        """Return the handle of a study, through which everything of it is read and changed.

        Raises:
            NotFound: there is none, or it belongs to another tenant.
        """
        try:
            return self._handle(study_id, self.get(study_id))
        except DamagedRecord:
            return self._handle(study_id)

    def get(self, study_id: str) -> Study:
        """Return a study without its runs.

        Raises:
            NotFound: there is none, or it belongs to another tenant.
            DamagedRecord: it cannot be read.
        """
        return _study(study_id, self._fields(study_id, self._names("study_hash", study_id)))

    def page(self, limit: int, before: str | None) -> Page[StudyHandle]:
        """List studies older than the id `before`, newest first; damaged ones are counted and left out."""

        def key(study_id: str) -> str:
            return self._names("study_hash", study_id)

        def read(study_id: str, fields: Fields) -> StudyHandle:
            return self._handle(study_id, _study(study_id, fields))

        return page_of(self._redis, self._index("studies"), key, read, self._damage, limit, before)

    def _handle(self, study_id: str, study: Study | None = None) -> StudyHandle:
        def read() -> Study:
            return self.get(study_id)

        return StudyHandle(study_id, read, self._redis, self._names, self._scripts, self._damaged_runs, study)


def _values_of(run_id: str, run: NewExperiment) -> tuple[str | int, ...]:
    """The values of one run, in the order in which `create_study.lua` reads them."""
    return (
        run_id,
        run.resolved.text,
        json.dumps(list(run.warnings)),
        run.shape.model_dump_json(),
        run.dataset,
        run.architecture,
        run.steps,
        run.history_bytes,
        str(run.norms),
    )


def _study(study_id: str, fields: Fields) -> Study:
    with damage_named("study", study_id):
        spec = StudySpec.model_validate_json(fields[b"spec"])
        warnings = tuple(str(text) for text in json.loads(fields[b"warnings"]))
        return Study(study_id, spec, moment(fields[b"created_at"]), fields.get(b"cancel_requested") == b"1", warnings)
