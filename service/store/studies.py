"""Studies in Redis; their runs are experiments (`service.store.experiments`)."""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import cast

import redis

from service.contract.errors import Conflict, DamagedRecord, InvalidSpec, KeyReused
from service.contract.gradient_norm_layout import GradientNormLayout
from service.contract.record import Outcome, Status
from service.contract.study_spec import StudySpec
from service.store.admission import NO_LIMITS, Admission
from service.store.clock import ShiftedClock
from service.store.connection import redis_errors_as_ours
from service.store.damage import DamageLog, Fields, damage_named, discard
from service.store.experiments import NewExperiment
from service.store.ids import CELL_DIGITS, Ids
from service.store.listing import Page, page_of
from service.store.names import Names
from service.store.request_key import REMEMBERED_S, RequestKey, created_before, request_arguments
from service.store.results import Cancellation, Creation, Deletion
from service.store.script_runner import Scripts
from service.store.stored_record import moment
from service.store.tenants import TenantView


@dataclass(frozen=True)
class Study:
    """A stored study."""

    id: str
    spec: StudySpec
    created_at: datetime
    cancel_requested: bool
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class Run:
    """How an experiment of a study stands."""

    id: str
    status: Status
    step: int
    steps: int
    outcome: Outcome
    norms: GradientNormLayout

    @property
    def cell(self) -> int:
        """Its place in the grid, counted from 0."""
        return int(self.id[-CELL_DIGITS:], 16)


@dataclass(frozen=True)
class StudyRuns:
    """The experiments of a study in the grid's order; deleted ones are left out."""

    runs: tuple[Run, ...]
    unreadable: int = 0  # damaged ones, which are left out too


@dataclass(frozen=True)
class Tally:
    """Counts over the experiments of a study; deleted ones do not count."""

    counts: Mapping[Status, int]
    step: int
    steps: int
    unreadable: int = 0  # damaged ones, which count nowhere else

    @classmethod
    def of(cls, found: StudyRuns) -> "Tally":
        """Count these experiments."""
        runs = found.runs
        counts = Counter(run.status for run in runs)
        return cls(counts, sum(run.step for run in runs), sum(run.steps for run in runs), found.unreadable)


class Studies(TenantView):
    """Studies in Redis. Every change is one atomic script; every method may raise StoreUnavailable."""

    _kind = "study"

    def __init__(
        self,
        client: redis.Redis,
        prefix: str = "gradflow",
        clock: ShiftedClock | None = None,
        ids: Ids | None = None,
    ) -> None:
        self._redis = client
        self._names = Names(prefix)
        self._scripts = Scripts(client, self._names, clock)
        self._ids = ids or Ids()
        self._damage, self._damaged_runs = DamageLog(self._kind), DamageLog("experiment")

    def create(
        self,
        spec: StudySpec,
        runs: Sequence[NewExperiment],
        tags: Sequence[str],
        warnings: Sequence[str],
        request: RequestKey | None = None,
        admission: Admission = NO_LIMITS,
    ) -> tuple[Study, list[str]]:
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
                return self.get(text.decode()), []
            case Creation.TOO_MANY_QUEUED | Creation.TOO_MANY_BYTES as refused:
                raise admission.refusal(refused)
            case Creation.OTHER_BODY:
                raise KeyReused
            case Creation.NO_DATASET:
                raise InvalidSpec(("base", "data", "dataset_id"), "there is no such data set any more")
        return Study(study_id, spec, moment(text), False, tuple(warnings)), ids

    def remembered(self, request: RequestKey) -> Study | None:
        """What the same request has made before, if it is still there.

        Raises:
            KeyReused: the request's key stands for another body.
        """
        created = created_before(self._scripts, request, self._names, self._tenant)
        return None if created is None else self.get(created)

    def get(self, study_id: str) -> Study:
        """A study without its runs.

        Raises:
            NotFound: there is none.
            DamagedRecord: it cannot be read.
        """
        return _study(study_id, self._fields(study_id, self._names("study_hash", study_id)))

    def runs(self, study_id: str) -> StudyRuns:
        """Its experiments in the grid's order; deleted ones are left out, damaged ones are counted."""
        layouts: dict[bytes, GradientNormLayout] = {}  # few are different

        def layout(text: bytes) -> GradientNormLayout:
            if text not in layouts:
                layouts[text] = GradientNormLayout.parsed(text.decode())
            return layouts[text]

        runs: list[Run] = []
        unreadable = 0
        for name, status, step, steps, outcome, norms in self._scripts.run("study_runs", study=study_id):
            run_id = name.decode(errors="replace")
            try:
                with damage_named("experiment", run_id):
                    done, of = int(step), int(steps)
                    result = Outcome.model_validate_json(outcome)
                    runs.append(Run(run_id, Status(status.decode()), done, of, result, layout(norms)))
            except DamagedRecord as error:
                self._damaged_runs.report(run_id, error.reason)
                unreadable += 1
        return StudyRuns(tuple(runs), unreadable)

    def tally(self, study_id: str) -> Tally:
        """The same in numbers, without the outcome of each."""
        step, steps, damaged, counts = self._scripts.run("study_tally", study=study_id)
        for run in damaged:
            self._damaged_runs.report(run.decode(errors="replace"), "its status or its number of steps")
        by_status = {Status(name.decode()): count for name, count in zip(counts[::2], counts[1::2], strict=True)}
        return Tally(by_status, int(step), int(steps), len(damaged))

    def page(self, limit: int, before: str | None) -> Page[Study]:
        """Up to `limit` of them, newest first, older than the id `before`; damaged ones are counted and left out."""

        def key(study_id: str) -> str:
            return self._names("study_hash", study_id)

        return page_of(self._redis, self._index("studies"), key, _study, self._damage, limit, before)

    def cancel(self, study_id: str) -> bool:
        """Cancel what is queued and ask what runs to stop; whether there was anything of it.

        Raises:
            NotFound: there is no such study.
        """
        self._fields(study_id, self._names("study_hash", study_id))  # of a tenant who may cancel it
        answer = Cancellation(self._scripts.run("cancel_study", study=study_id).decode())
        if answer is Cancellation.MISSING:
            raise self._missing(study_id)
        return answer is Cancellation.CANCELLED

    def delete(self, study_id: str) -> None:
        """Forget a study and its experiments.

        Raises:
            NotFound: there is none.
            Conflict: one of its experiments runs, and the study and its experiments can be read.
        """
        try:
            tags = self.get(study_id).spec.base.get("tags", ())
            answer = Deletion(self._scripts.run("delete_study", study=study_id, rest=tags).decode())
        except (DamagedRecord, redis.exceptions.ResponseError):  # of the study, or of one of its experiments
            with redis_errors_as_ours():
                runs = cast("list[bytes]", self._redis.zrange(self._names("of_study", study_id), 0, -1))
            discard(self._redis, self._scripts, self._names, [*(run.decode() for run in runs), study_id])
            return
        match answer:
            case Deletion.MISSING:
                raise self._missing(study_id)
            case Deletion.RUNNING:
                raise Conflict("experiments of the study are running; cancel it first")


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
