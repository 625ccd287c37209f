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
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, cast

import redis

from service.contract.data_spec import DataShape, UploadData
from service.contract.errors import Conflict, InvalidSpec, KeyReused, NotFound
from service.contract.norm_layout import NormLayout
from service.contract.record import Outcome, Status
from service.contract.spec import ExperimentSpec
from service.contract.study_spec import StudySpec
from service.store import study_scripts as scripts
from service.store.admission import ANY, TOO_LARGE, TOO_MANY, Admission
from service.store.connection import redis_errors_as_ours
from service.store.listing import newest
from service.store.request_key import REMEMBERED_S, RequestKey, made_before
from service.store.script_runner import Scripts
from service.store.scripts import REMEMBERED
from service.store.stored_record import moment
from service.store.tenants import TenantView

CELL_DIGITS = 6  # of a run's id, the last ones: its place in the grid


@dataclass(frozen=True)
class NewRun:
    """An experiment of a study that is to be queued."""

    spec: ExperimentSpec
    shape: DataShape
    warnings: tuple[str, ...]
    architecture: str
    steps: int
    norms: NormLayout
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
    norms: NormLayout

    @property
    def cell(self) -> int:
        """Its place in the grid, counted from 0."""
        return int(self.id[-CELL_DIGITS:], 16)


@dataclass(frozen=True)
class Tally:
    """How the experiments of a study stand, all together; those that were deleted do not count."""

    counts: Mapping[Status, int]
    step: int
    steps: int

    @classmethod
    def of(cls, runs: Iterable[Run]) -> "Tally":
        """Of these experiments."""
        runs = list(runs)
        return cls(Counter(run.status for run in runs), sum(run.step for run in runs), sum(run.steps for run in runs))


class Studies(TenantView):
    """Studies in Redis. Every change is one atomic script; every method may raise StoreUnavailable."""

    def __init__(self, client: redis.Redis, prefix: str = "gradflow") -> None:
        self._redis = client
        self._prefix = prefix
        names = ("CREATE_STUDY", "STUDY_RUNS", "TALLY", "CANCEL_STUDY", "DELETE_STUDY")
        sources = {name: getattr(scripts, name) for name in names} | {"REMEMBERED": REMEMBERED}
        self._scripts = Scripts(client, prefix, sources)

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
            data = run.spec.data
            dataset = data.dataset_id if isinstance(data, UploadData) else ""
            words = json.dumps(list(run.warnings))
            arguments += [run_id, run.spec.model_dump_json(), words, run.shape.model_dump_json(), dataset]
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
        """
        with redis_errors_as_ours():
            fields = cast("dict[bytes, bytes]", self._redis.hgetall(self._key(study_id)))
        if not self._sees(fields):
            raise NotFound(f"there is no study {study_id}")
        return _study(study_id, fields)

    def runs(self, study_id: str) -> list[Run]:
        """How its experiments stand, in the grid's order; those that were deleted are left out."""
        layouts: dict[bytes, NormLayout] = {}  # few are different

        def layout(text: bytes) -> NormLayout:
            if text not in layouts:
                layouts[text] = NormLayout.parsed(text.decode())
            return layouts[text]

        return [
            Run(
                run_id.decode(),
                Status(status.decode()),
                int(step),
                int(steps),
                Outcome.model_validate_json(outcome),
                layout(norms),
            )
            for run_id, status, step, steps, outcome, norms in self._scripts.run("STUDY_RUNS", study_id)
        ]

    def tally(self, study_id: str) -> Tally:
        """The same in numbers, without what each has come to."""
        step, steps, *counts = self._scripts.run("TALLY", study_id)
        by_status = {Status(name.decode()): count for name, count in zip(counts[::2], counts[1::2], strict=True)}
        return Tally(by_status, int(step), int(steps))

    def page(self, limit: int, before: str | None) -> tuple[tuple[Study, ...], str | None]:
        """Up to `limit` of them, newest first, older than the id `before`; and the id to go on from, if any."""
        ids = newest(self._redis, self._index("studies"), before, limit + 1)
        with redis_errors_as_ours():
            pipeline = self._redis.pipeline(transaction=False)
            for study_id in ids:
                pipeline.hgetall(self._key(study_id))
            every = [_study(i, fields) for i, fields in zip(ids, pipeline.execute(), strict=True) if fields]
        return tuple(every[:limit]), ids[limit - 1] if len(ids) > limit else None

    def cancel(self, study_id: str) -> bool:
        """Cancel what is queued and ask what runs to stop; whether there was anything of it.

        Raises:
            NotFound: there is no such study.
        """
        self.get(study_id)
        open_runs = self._scripts.run("CANCEL_STUDY", study_id)
        if open_runs is None:
            raise NotFound(f"there is no study {study_id}")
        return bool(open_runs)

    def delete(self, study_id: str, tags: Sequence[str]) -> None:
        """Forget a study and its experiments.

        Raises:
            NotFound: there is none.
            Conflict: one of its experiments runs.
        """
        self.get(study_id)
        deleted = self._scripts.run("DELETE_STUDY", study_id, *tags)
        if deleted == -1:
            raise NotFound(f"there is no study {study_id}")
        if deleted == 0:
            raise Conflict("experiments of the study are running; cancel it first")

    def _key(self, study_id: str) -> str:
        return f"{self._prefix}:{{{study_id}}}:study"


def _study(study_id: str, fields: dict[bytes, bytes]) -> Study:
    spec = StudySpec.model_validate_json(fields[b"spec"])
    warnings = tuple(json.loads(fields.get(b"warnings", b"[]")))
    return Study(study_id, spec, moment(fields[b"created_at"]), fields.get(b"cancel_requested") == b"1", warnings)
