"""The use cases of studies: all experiments checked, all recorded, all published."""

from collections import Counter
from collections.abc import Sequence

from pydantic import TypeAdapter, ValidationError

from service.application.submission import Publisher, Submissions, publish
from service.contract.errors import InvalidSpec, LimitExceeded
from service.contract.faults import finding
from service.contract.model_spec import ModelSpec
from service.contract.resolved_spec import ResolvedSpec
from service.contract.spec import ExperimentSpec
from service.contract.study_spec import Cell, Json, StudySpec
from service.contract.workload import Limits
from service.store.request_key import RequestKey
from service.store.studies import NewRun, Studies, Study

MOST_WARNINGS = 20


class StudySubmissions:
    """Takes studies in."""

    def __init__(self, studies: Studies, experiments: Submissions, publisher: Publisher, limits: Limits) -> None:
        self._studies = studies
        self._experiments = experiments
        self._publisher = publisher
        self._limits = limits

    def of(self, tenant: str) -> "StudySubmissions":
        """The same for a tenant."""
        return StudySubmissions(self._studies.of(tenant), self._experiments.of(tenant), self._publisher, self._limits)

    def submit(self, spec: StudySpec, key: str | None = None) -> Study:
        """Queue every experiment of a study, or none; or find the study that was made under the same key before.

        Raises:
            KeyReused: the key was given to another request.
            InvalidSpec: a combination breaks a limit or contradicts itself, or there are too many.
            StoreUnavailable: nothing is queued, or it is not on disk yet.
        """
        request = RequestKey.of(key, spec.model_dump_json())
        if request is not None and (before := self._studies.remembered(request)) is not None:
            return before
        self._require_limits(spec)
        models = _Models()
        runs = [self._run(spec, cell, models) for cell in spec.cells()]
        tags = runs[0].resolved.spec.tags
        study, ids = self._studies.create(spec, runs, tags, request, self._experiments.admission, _together(runs))
        publish(self._publisher, ids)
        return study

    def cancel(self, study_id: str) -> bool:
        """Ask for the end of all experiments of a study; whether any had not ended."""
        return self._studies.cancel(study_id)

    def delete(self, study_id: str) -> None:
        """Forget a study and its experiments."""
        self._studies.delete(study_id)

    def _require_limits(self, spec: StudySpec) -> None:
        """By arithmetic: nothing is made of the axes yet."""
        limits = self._limits
        if spec.experiments > limits.study_experiments:
            raise LimitExceeded(("axes",), "study_experiments", spec.experiments, limits.study_experiments)
        if spec.written_bytes > limits.study_bytes:
            raise LimitExceeded(("base",), "study_bytes", spec.written_bytes, limits.study_bytes)

    def _run(self, study: StudySpec, cell: Cell, models: "_Models") -> NewRun:
        try:
            spec = ExperimentSpec.model_validate(models.read_in(study.spec_of(cell)))
            resolved = ResolvedSpec.of(spec)
            accepted, shape = self._experiments.checked(resolved)
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False)[0]
            found = finding({**first, "loc": ("body", *first["loc"])})
            location = found["location"].removeprefix("body.").split(".")
            raise InvalidSpec(("base", *location), f"{cell}: {found['message']}") from error
        except InvalidSpec as error:
            if error.location[:1] != ("base",):  # else an axis leads nowhere
                error.location = ("base", *error.location)
            error.message = f"{cell}: {error.message}"
            raise
        planned = accepted.plan
        return NewRun(
            resolved,
            shape,
            accepted.warnings,
            accepted.architecture,
            planned.work.total_steps,
            accepted.norms,
            planned.history_bytes,
        )


def _together(runs: Sequence[NewRun]) -> tuple[str, ...]:
    """What the experiments of a study are warned of, each sentence once."""
    counts = Counter(warning for run in runs for warning in run.warnings)
    told = [text if n == len(runs) else f"{n:,} of {len(runs):,} experiments: {text}" for text, n in counts.items()]
    if len(told) <= MOST_WARNINGS:
        return tuple(told)
    return *told[:MOST_WARNINGS], f"and {len(told) - MOST_WARNINGS:,} more, in the warnings of the experiments"


class _Models:
    """The models of a study, each read once: that of a user's own network takes milliseconds, and much memory."""

    KEPT = 16  # a last axis of more models than these reads each again

    def __init__(self) -> None:
        self._reader: TypeAdapter[ModelSpec] = TypeAdapter(ModelSpec)
        self._known: dict[int, tuple[object, ModelSpec]] = {}  # by identity; holding it keeps it one's own

    def read_in(self, spec: Json) -> Json:
        """The spec with its model read, if it can be; else as it is, for the whole spec's check to refuse."""
        model = spec.get("model")
        if not isinstance(model, dict):
            return spec
        if id(model) not in self._known:
            try:
                read = self._reader.validate_python(model)
            except ValidationError:
                return spec
            if len(self._known) == self.KEPT:
                del self._known[next(iter(self._known))]
            self._known[id(model)] = model, read
        return {**spec, "model": self._known[id(model)][1]}
