"""One study that a view of the store has opened, and its runs."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from typing import cast

import redis

from service.contract.errors import Conflict, DamagedRecord, NotFound
from service.contract.gradient_norm_layout import GradientNormLayout
from service.contract.record import Outcome, Status
from service.contract.study_spec import StudySpec
from service.store.connection import redis_errors_as_ours
from service.store.damage import DamageLog, damage_named, discard, is_damage
from service.store.ids import CELL_DIGITS
from service.store.names import Names
from service.store.results import Cancellation, Deletion
from service.store.script_runner import Scripts


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
    """The progress and the outcome of an experiment of a study."""

    id: str
    status: Status
    step: int
    steps: int
    outcome: Outcome
    norms: GradientNormLayout

    @property
    def cell(self) -> int:
        """Its index in the grid, counted from 0."""
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


class StudyHandle:
    """One study. Only a view creates a handle, after it has checked that its tenant may see the study.

    Every method may raise StoreUnavailable.

    Args:
        study_id: the study.
        read: reads the study; raises NotFound if it is gone and DamagedRecord if it cannot be read.
        client: the connection.
        names: of all keys.
        scripts: over the same client.
        damaged_runs: logs damaged experiments of the study.
        study: the study, if it was read already.
    """

    def __init__(
        self,
        study_id: str,
        read: Callable[[], Study],
        client: redis.Redis,
        names: Names,
        scripts: Scripts,
        damaged_runs: DamageLog,
        study: Study | None = None,
    ) -> None:
        self.id = study_id
        self._read = read
        self._redis = client
        self._names = names
        self._scripts = scripts
        self._damaged_runs = damaged_runs
        self._study = study

    @property
    def study(self) -> Study:
        """The study as it was when it was read first; raises DamagedRecord if it cannot be read."""
        if self._study is None:
            self._study = self._read()
        return self._study

    def runs(self) -> StudyRuns:
        """Return its experiments in the grid's order; deleted ones are left out, damaged ones are counted."""
        layouts: dict[bytes, GradientNormLayout] = {}  # few differ

        def layout(text: bytes) -> GradientNormLayout:
            if text not in layouts:
                layouts[text] = GradientNormLayout.parsed(text.decode())
            return layouts[text]

        runs: list[Run] = []
        unreadable = 0
        for name, status, step, steps, outcome, norms in self._scripts.run("study_runs", study=self.id):
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

    def tally(self) -> Tally:
        """Count its experiments, without reading the outcome of each."""
        step, steps, damaged, counts = self._scripts.run("study_tally", study=self.id)
        for run in damaged:
            self._damaged_runs.report(run.decode(errors="replace"), "its status or its number of steps")
        by_status = {Status(name.decode()): count for name, count in zip(counts[::2], counts[1::2], strict=True)}
        return Tally(by_status, int(step), int(steps), len(damaged))

    def pieces(self, name: str, ranges: Mapping[str, Sequence[tuple[int, int]]]) -> dict[str, list[bytes]]:
        """Read ranges of bytes of one series of several of its experiments, in one round trip.

        Args:
            name: the series.
            ranges: by experiment, the first and the last byte of each range; negative ones count from the end.

        Returns:
            By experiment, the bytes of each range.

        Raises:
            NotFound: an experiment belongs to another study.
        """
        stem = self.id[:-CELL_DIGITS]
        for run_id in ranges:
            if run_id[:-CELL_DIGITS] != stem:
                raise NotFound(f"there is no experiment {run_id} in study {self.id}")
        with redis_errors_as_ours():
            pipeline = self._redis.pipeline(transaction=False)
            for run_id, wanted in ranges.items():
                for first, last in wanted:
                    pipeline.getrange(self._names("series", run_id, name), first, last)
            found = iter(cast("list[bytes]", pipeline.execute()))
        return {run_id: list(islice(found, len(wanted))) for run_id, wanted in ranges.items()}

    def cancel(self) -> bool:
        """Cancel what is queued and ask what runs to stop; return whether any experiment had not ended before.

        Raises:
            NotFound: the study was deleted.
        """
        answer = Cancellation(self._scripts.run("cancel_study", study=self.id).decode())
        if answer is Cancellation.MISSING:
            raise self._missing()
        self._study = None
        return answer is Cancellation.CANCELLED

    def delete(self) -> None:
        """Delete the study and its experiments.

        Raises:
            NotFound: the study was deleted before.
            Conflict: one of its experiments runs, and the study and its experiments can be read.
        """
        try:
            tags = self.study.spec.base.get("tags", ())
            answer = Deletion(self._scripts.run("delete_study", study=self.id, rest=tags).decode())
        except DamagedRecord:
            self._discard()
            return
        except redis.exceptions.ResponseError as error:
            if not is_damage(error):
                raise
            self._discard()
            return
        match answer:
            case Deletion.MISSING:
                raise self._missing()
            case Deletion.RUNNING:
                raise Conflict("experiments of the study are running; cancel it first")

    def _discard(self) -> None:
        with redis_errors_as_ours():
            runs = cast("list[bytes]", self._redis.zrange(self._names("of_study", self.id), 0, -1))
        discard(self._redis, self._scripts, self._names, [*(run.decode() for run in runs), self.id])

    def _missing(self) -> NotFound:
        return NotFound(f"there is no study {self.id}")
