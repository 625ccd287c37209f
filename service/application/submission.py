"""The use cases that change something."""

import logging
from collections.abc import Sequence
from typing import Protocol

from service.application.admission_control import AdmissionControl
from service.application.plans import Accepted, accepted
from service.contract.data_shape import shape_of
from service.contract.data_spec import DataShape, DataSpec, UploadData
from service.contract.errors import InvalidSpec, NotFound, StoreUnavailable
from service.contract.record import ExperimentRecord
from service.contract.spec import ExperimentSpec
from service.contract.workload import Limits
from service.store.admission import ANY, Admission
from service.store.datasets import Datasets
from service.store.experiments import Experiments, new_id
from service.store.request_key import RequestKey

logger = logging.getLogger(__name__)


class Publisher(Protocol):
    """Tells the workers of queued experiments."""

    def publish_many(self, experiment_ids: Sequence[str]) -> None:
        """Tell them of several."""
        ...


def publish(publisher: Publisher, experiment_ids: Sequence[str]) -> None:
    """Tell the workers; where that fails, a sweeper does so later, for what is recorded is accepted."""
    try:
        publisher.publish_many(experiment_ids)
    except StoreUnavailable as error:
        logger.warning("%d experiments are queued without a message: %s", len(experiment_ids), error)


class Submissions:
    """Takes specs in: checked, recorded, then published."""

    def __init__(
        self,
        store: Experiments,
        datasets: Datasets,
        publisher: Publisher,
        limits: Limits,
        room: AdmissionControl | None = None,
    ) -> None:
        self._store = store
        self._datasets = datasets
        self._publisher = publisher
        self._limits = limits
        self._room = room

    def of(self, tenant: str) -> "Submissions":
        """The same for a tenant."""
        return Submissions(self._store.of(tenant), self._datasets.of(tenant), self._publisher, self._limits, self._room)

    @property
    def admission(self) -> Admission:
        """What may be admitted now."""
        return ANY if self._room is None else self._room.admission()

    def submit(self, spec: ExperimentSpec, key: str | None = None) -> ExperimentRecord:
        """Queue an experiment; or find the one that was queued under the same key before.

        Raises:
            InvalidSpec: the spec breaks a limit or contradicts itself; nothing is queued.
            KeyReused: the key was given to another request; nothing is queued.
            StoreUnavailable: nothing is queued, or it is not on disk yet.
        """
        spec = spec.resolved()
        request = RequestKey.of(key, spec.model_dump_json())
        # Before the checks: what has been accepted once stays so, though its data set be gone.
        if request is not None and (before := self._store.remembered(request)) is not None:
            return before
        taken, shape = self.checked(spec)
        planned, experiment_id = taken.plan, new_id()
        made = (planned.spec, taken.warnings, shape, taken.architecture, planned.history_bytes)
        record = self._store.create(experiment_id, *made, request, self.admission)
        if record.id == experiment_id:
            publish(self._publisher, [experiment_id])
        return record

    def checked(self, spec: ExperimentSpec) -> tuple[Accepted, DataShape]:
        """What a spec, resolved, comes to, and the shape of its data.

        Raises:
            InvalidSpec: the spec breaks a limit or contradicts itself.
        """
        spec = spec.resolved()
        shape = self._shape(spec.data)
        return accepted(spec, shape, self._limits), shape

    def cancel(self, experiment_id: str) -> tuple[ExperimentRecord, bool]:
        """Ask for the end of an experiment; its record, and whether there was anything left to end."""
        asked = self._store.cancel(experiment_id)
        return self._store.get(experiment_id), asked

    def _shape(self, data: DataSpec) -> DataShape:
        if not isinstance(data, UploadData):
            return shape_of(data)
        try:
            shape = self._datasets.get(data.dataset_id).description.shape
        except NotFound as error:
            raise InvalidSpec(("data", "dataset_id"), str(error)) from error
        return shape.reshaped(data.shape)
