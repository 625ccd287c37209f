"""The use cases of studies: submit, cancel and delete. A study is queued as a whole or not at all."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

from pydantic import TypeAdapter, ValidationError

from service.application.submission import Publisher, Submissions, new_experiment, publish
from service.contract.errors import InvalidCell, InvalidSpec, LimitExceeded
from service.contract.faults import fault_of
from service.contract.model_spec import ModelSpec
from service.contract.resolved_spec import ResolvedSpec
from service.contract.spec import ExperimentSpec
from service.contract.study_spec import Cell, Json, StudySpec
from service.contract.workload import Limits
from service.store.experiments import NewExperiment
from service.store.request_key import RequestKey
from service.store.studies import Studies
from service.store.study_handle import StudyHandle

MAX_WARNINGS = 20  # of a study


class StudySubmissions:
    """Checks, records and publishes studies."""

    def __init__(self, studies: Studies, experiments: Submissions, publisher: Publisher, limits: Limits) -> None:
        self._studies = studies
        self._experiments = experiments
        self._publisher = publisher
        self._limits = limits

    def of(self, tenant: str) -> "StudySubmissions":
        """Return the use cases for one tenant."""
        return StudySubmissions(self._studies.of(tenant), self._experiments.of(tenant), self._publisher, self._limits)

    def submit(self, spec: StudySpec, key: str | None = None) -> StudyHandle:
        """Queue every experiment of a study, or return the study that an earlier request with the same key queued.

        Raises:
            InvalidSpec: A combination breaks a limit or contradicts itself, or there are too many combinations.
            KeyReused: The key belongs to another request.
            StoreUnavailable: Nothing is queued, or the study is not on disk yet.
        """
        request = RequestKey.of(key, spec.model_dump_json())
        if request is not None and (before := self._studies.remembered(request)) is not None:
            return before
        self._check_limits(spec)
        models = _Models()
        runs = [self._run(spec, cell, models) for cell in spec.cells()]
        tags = runs[0].resolved.spec.tags
        study, ids = self._studies.create(spec, runs, tags, _merged(runs), request, self._experiments.admission)
        publish(self._publisher, ids)
        return study

    def cancel(self, study_id: str) -> bool:
        """Ask all experiments of a study to stop; return whether any of them had not ended before."""
        return self._studies.open(study_id).cancel()

    def delete(self, study_id: str) -> None:
        """Delete a study and its experiments."""
        self._studies.open(study_id).delete()

    def _check_limits(self, spec: StudySpec) -> None:
        """Check sizes by arithmetic, before any experiment is made of the axes."""
        limits = self._limits
        if spec.experiments > limits.study_experiments:
            raise LimitExceeded(("axes",), "study_experiments", spec.experiments, limits.study_experiments)
        if spec.written_bytes > limits.study_bytes:
            raise LimitExceeded(("base",), "study_bytes", spec.written_bytes, limits.study_bytes)

    def _run(self, study: StudySpec, cell: Cell, models: "_Models") -> NewExperiment:
        try:
            spec = ExperimentSpec.model_validate(models.validated_in(study.spec_of(cell)))
            resolved = ResolvedSpec.of(spec)
            accepted, shape = self._experiments.checked(resolved)
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False)[0]
            fault = fault_of({**first, "loc": ("body", *first["loc"])})
            # The schema of a study allows any value on an axis, so that the fault breaks a rule of the study.
            raise InvalidCell(str(cell), replace(fault, code="rule")) from error
        except InvalidSpec as error:
            raise InvalidCell(str(cell), error.fault) from error
        return new_experiment(resolved, accepted, shape)


def _merged(runs: Sequence[NewExperiment]) -> tuple[str, ...]:
    """Return the warnings of all experiments, each sentence once, with the number of experiments that it concerns."""
    counts = Counter(warning for run in runs for warning in run.warnings)
    merged = [text if n == len(runs) else f"{n:,} of {len(runs):,} experiments: {text}" for text, n in counts.items()]
    if len(merged) <= MAX_WARNINGS:
        return tuple(merged)
    return *merged[:MAX_WARNINGS], f"and {len(merged) - MAX_WARNINGS:,} more, in the warnings of the experiments"


class _Models:
    """Validates the model of each experiment; cells share models, and a user's own network takes milliseconds."""

    MAX = 16  # if the last axis has more models than this, each cell validates its model again

    def __init__(self) -> None:
        self._adapter: TypeAdapter[ModelSpec] = TypeAdapter(ModelSpec)
        # By identity: cells share the dictionaries of the study, and the entry keeps its dictionary alive.
        self._validated: dict[int, tuple[object, ModelSpec]] = {}

    def validated_in(self, spec: Json) -> Json:
        """Return the spec with its model validated, or unchanged if the model is invalid or is no object."""
        model = spec.get("model")
        if not isinstance(model, dict):
            return spec
        if id(model) not in self._validated:
            try:
                validated = self._adapter.validate_python(model)
            except ValidationError:
                return spec
            if len(self._validated) == self.MAX:
                del self._validated[next(iter(self._validated))]
            self._validated[id(model)] = model, validated
        return {**spec, "model": self._validated[id(model)][1]}
