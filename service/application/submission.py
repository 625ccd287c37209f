"""The use cases of experiments: submit and cancel."""

import logging
from collections.abc import Sequence
from typing import Protocol

from service.application.admission_control import AdmissionControl
from service.application.plans import AcceptedRun, Plans
from service.contract.data_shape import shape_of
from service.contract.data_spec import DataShape, DataSpec, UploadData
from service.contract.errors import InvalidSpec, NotFound, StoreUnavailable
from service.contract.plan import Plan
from service.contract.record import ExperimentRecord
from service.contract.resolved_spec import ResolvedSpec
from service.contract.spec import ExperimentSpec
from service.contract.workload import Limits
from service.store.admission import NO_LIMITS, Admission
from service.store.datasets import Datasets
from service.store.experiments import Experiments, NewExperiment
from service.store.ids import new_id
from service.store.request_key import RequestKey

logger = logging.getLogger(__name__)


class Publisher(Protocol):
    """Sends a message to the workers for each queued experiment."""

    def publish_many(self, experiment_ids: Sequence[str]) -> None:
        """Send one message per experiment."""
        ...


def publish(publisher: Publisher, experiment_ids: Sequence[str]) -> None:
    """Publish recorded experiments; if that fails, log it, since the sweeper publishes them later."""
    try:
        publisher.publish_many(experiment_ids)
    except StoreUnavailable as error:
        logger.warning("%d experiments are queued without a message: %s", len(experiment_ids), error)


def new_experiment(resolved: ResolvedSpec, accepted: AcceptedRun, shape: DataShape) -> NewExperiment:
    """Return what the store keeps of an accepted spec; `shape` is that of its data."""
    return NewExperiment(
        resolved=resolved,
        shape=shape,
        warnings=accepted.warnings,
        architecture=accepted.architecture,
        steps=accepted.plan.work.total_steps,
        norms=accepted.norms,
        history_bytes=accepted.plan.history_bytes,
    )


class Submissions:
    """Checks, records and publishes experiments."""

    def __init__(
        self,
        store: Experiments,
        datasets: Datasets,
        publisher: Publisher,
        plans: Plans,
        limits: Limits,
        admission_control: AdmissionControl | None = None,
    ) -> None:
        self._store = store
        self._datasets = datasets
        self._publisher = publisher
        self._plans = plans
        self._limits = limits
        self._admission_control = admission_control

    def of(self, tenant: str) -> "Submissions":
        """Return the use cases for one tenant."""
        store, datasets = self._store.of(tenant), self._datasets.of(tenant)
        return Submissions(store, datasets, self._publisher, self._plans, self._limits, self._admission_control)

    @property
    def admission(self) -> Admission:
        """What may be admitted now."""
        return NO_LIMITS if self._admission_control is None else self._admission_control.admission()

    def submit(self, spec: ExperimentSpec, key: str | None = None) -> ExperimentRecord:
        """Queue an experiment, or return the one that an earlier request with the same key queued.

        Raises:
            InvalidSpec: The spec breaks a limit or contradicts itself. Nothing is queued.
            KeyReused: The key belongs to another request. Nothing is queued.
            StoreUnavailable: Nothing is queued, or the record is not on disk yet.
        """
        resolved = ResolvedSpec.of(spec)
        request = RequestKey.of(key, resolved.text)
        # Before the checks: an accepted request stays accepted after its data set was deleted.
        if request is not None and (before := self._store.remembered(request)) is not None:
            return before
        accepted, shape = self.checked(resolved)
        experiment_id = new_id()
        new = new_experiment(resolved, accepted, shape)
        record = self._store.create(experiment_id, new, request, self.admission)
        if record.id == experiment_id:
            publish(self._publisher, [experiment_id])
        return record

    def checked(self, resolved: ResolvedSpec) -> tuple[AcceptedRun, DataShape]:
        """Return what follows from a spec, and the shape of its data.

        Raises:
            InvalidSpec: The spec breaks a limit, contradicts itself, or names a data set that does not exist.
        """
        shape = self._shape(resolved.spec.data)
        return self._plans.accepted(resolved, shape, self._limits), shape

    def plan(self, resolved: ResolvedSpec) -> Plan:
        """Return the plan of a spec within the limits, without the warnings that `checked` computes.

        Raises:
            InvalidSpec: as `checked`.
        """
        return self._plans.within(resolved, self._shape(resolved.spec.data), self._limits)

    def cancel(self, experiment_id: str) -> tuple[ExperimentRecord, bool]:
        """Ask an experiment to stop; return its record, and whether it had not ended before."""
        experiment = self._store.open(experiment_id)
        asked = experiment.cancel()
        return experiment.current_record(), asked

    def _shape(self, data: DataSpec) -> DataShape:
        if not isinstance(data, UploadData):
            return shape_of(data)
        try:
            shape = self._datasets.get(data.dataset_id).description.shape
        except NotFound as error:
            raise InvalidSpec(("data", "dataset_id"), str(error)) from error
        return shape.reshaped(data.shape)
