"""The one owner of the keys of studies in Redis; their runs are experiments (`service.store.experiments`).

gradflow:{ID}:study                 hash: spec, warnings, created_at, cancel_requested, tenant
gradflow:experiments:study:{ID}     sorted set of its runs' ids, which sort in the grid's order
gradflow:studies                    sorted set of ids, which sort by time; and one for each tenant
gradflow:studies:empty              sorted set of those without runs, by the time at which the last one was deleted
"""

import json
import secrets
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, cast

import redis

from service.contract.data_spec import DataShape, UploadData
from service.contract.errors import Conflict, DamagedRecord, InvalidSpec, KeyReused, NotFound
from service.contract.gradient_norm_layout import GradientNormLayout
from service.contract.record import Outcome, Status
from service.contract.resolved_spec import ResolvedSpec
from service.contract.study_spec import StudySpec
from service.store import study_scripts as scripts
from service.store.admission import ANY, TOO_LARGE, TOO_MANY, Admission
from service.store.connection import redis_errors_as_ours
from service.store.damage import DamageLog, Fields, damage_named, discard
from service.store.listing import Page, page_of
from service.store.request_key import REMEMBERED_S, RequestKey, made_before
from service.store.script_runner import Scripts
from service.store.scripts import DISCARD, REMEMBERED
from service.store.stored_record import moment
from service.store.tenants import TenantView

CELL_DIGITS = 6  # of a run's id, the last ones: its place in the grid


@dataclass(frozen=True)
class NewRun:
    """An experiment of a study that is to be queued."""

    resolved: ResolvedSpec
    shape: DataShape
    warnings: tuple[str, ...]
    architecture: str
    steps: int
    norms: GradientNormLayout
    history_bytes: int = 0


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

    def __init__(self, client: redis.Redis, prefix: str = "gradflow") -> None:
        self._redis = client
        self._prefix = prefix
        names = ("CREATE_STUDY", "STUDY_RUNS", "TALLY", "CANCEL_STUDY", "DELETE_STUDY")
        sources = {name: getattr(scripts, name) for name in names} | {"REMEMBERED": REMEMBERED, "DISCARD": DISCARD}
        self._scripts = Scripts(client, prefix, sources)
        self._damage, self._damaged_runs = DamageLog(self._kind), DamageLog("experiment")

    def create(
        self,
        spec: StudySpec,
        runs: Sequence[NewRun],
        tags: Sequence[str],
        request: RequestKey | None = None,
        admission: Admission = ANY,
        warnings: Sequence[str] = (),
    ) -> tuple[Study, list[str]]:
        """Queue all runs of a study, or none; the study, and their ids in the grid's order.

        A request that was made before gives the study that it made then, and no ids.

        Raises:
            KeyReused: the request's key stands for another body.
            StoreFull: the admission does not allow it.
            InvalidSpec: a data set of theirs is not there.
        """
        # Twelve digits of time as all ids have, then six that tell studies apart, then the place in the grid.
        stem = f"{time.time_ns() // 1_000_000:012x}{secrets.token_hex(3)}"
        study_id, ids = f"{stem}ffffff", [f"{stem}{i:0{CELL_DIGITS}x}" for i in range(len(runs))]
        named = ("", "") if request is None else request.of_tenant(self._tenant)
        limits = (*named, REMEMBERED_S, *admission.arguments)
        said = json.dumps(list(warnings))
        arguments: list[Any] = [spec.model_dump_json(), *limits, self._tenant, said, len(tags), *tags]
        for run_id, run in zip(ids, runs, strict=True):
            data = run.resolved.spec.data
            dataset = data.dataset_id if isinstance(data, UploadData) else ""
            words = json.dumps(list(run.warnings))
            arguments += [run_id, run.resolved.text, words, run.shape.model_dump_json(), dataset]
            arguments += [run.architecture, run.steps, run.history_bytes, str(run.norms)]
        created = self._scripts.run_durably("CREATE_STUDY", study_id, *arguments)
        if isinstance(created, list):
            return self.get(created[0].decode()), []
        if created in (TOO_MANY, TOO_LARGE):
            raise admission.refusal(created)
        if created == -2:
            raise KeyReused
        if created == -1:
            raise InvalidSpec(("base", "data", "dataset_id"), "there is no such data set any more")
        return Study(study_id, spec, moment(created), False, tuple(warnings)), ids

    def remembered(self, request: RequestKey) -> Study | None:
        """What the same request has made before, if it is still there.

        Raises:
            KeyReused: the request's key stands for another body.
        """
        made = made_before(self._scripts, request, self._tenant)
        return None if made is None else self.get(made)

    def get(self, study_id: str) -> Study:
        """A study without its runs.

        Raises:
            NotFound: there is none.
            DamagedRecord: it cannot be read.
        """
        return _study(study_id, self._fields(study_id, self._key(study_id)))

    def runs(self, study_id: str) -> StudyRuns:
        """Its experiments in the grid's order; deleted ones are left out, damaged ones are counted."""
        layouts: dict[bytes, GradientNormLayout] = {}  # few are different

        def layout(text: bytes) -> GradientNormLayout:
            if text not in layouts:
                layouts[text] = GradientNormLayout.parsed(text.decode())
            return layouts[text]

        runs: list[Run] = []
        unreadable = 0
        for name, status, step, steps, outcome, norms in self._scripts.run("STUDY_RUNS", study_id):
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
        step, steps, unreadable, *counts = self._scripts.run("TALLY", study_id)
        for run in unreadable:
            self._damaged_runs.report(run.decode(errors="replace"), "its status or its number of steps")
        by_status = {Status(name.decode()): count for name, count in zip(counts[::2], counts[1::2], strict=True)}
        return Tally(by_status, int(step), int(steps), len(unreadable))

    def page(self, limit: int, before: str | None) -> Page[Study]:
        """Up to `limit` of them, newest first, older than the id `before`; damaged ones are counted and left out."""
        return page_of(self._redis, self._index("studies"), self._key, _study, self._damage, limit, before)

    def cancel(self, study_id: str) -> bool:
        """Cancel what is queued and ask what runs to stop; whether there was anything of it.

        Raises:
            NotFound: there is no such study.
        """
        self._fields(study_id, self._key(study_id))  # of a tenant who may cancel it
        open_runs = self._scripts.run("CANCEL_STUDY", study_id)
        if open_runs is None:
            raise NotFound(f"there is no study {study_id}")
        return bool(open_runs)

    def delete(self, study_id: str) -> None:
        """Forget a study and its experiments.

        Raises:
            NotFound: there is none.
            Conflict: one of its experiments runs, and the study and its experiments can be read.
        """
        try:
            tags = self.get(study_id).spec.base.get("tags", ())
            deleted = self._scripts.run("DELETE_STUDY", study_id, *tags)
        except (DamagedRecord, redis.exceptions.ResponseError):  # of the study, or of one of its experiments
            index = f"{self._prefix}:experiments:study:{study_id}"
            with redis_errors_as_ours():
                runs = [run.decode() for run in cast("list[bytes]", self._redis.zrange(index, 0, -1))]
            discard(self._redis, self._scripts, self._prefix, [*runs, study_id])
            return
        if deleted == -1:
            raise NotFound(f"there is no study {study_id}")
        if deleted == 0:
            raise Conflict("experiments of the study are running; cancel it first")

    def _key(self, study_id: str) -> str:
        return f"{self._prefix}:{{{study_id}}}:study"


def _study(study_id: str, fields: Fields) -> Study:
    with damage_named("study", study_id):
        spec = StudySpec.model_validate_json(fields[b"spec"])
        warnings = tuple(str(text) for text in json.loads(fields.get(b"warnings", b"[]")))
        return Study(study_id, spec, moment(fields[b"created_at"]), fields.get(b"cancel_requested") == b"1", warnings)
