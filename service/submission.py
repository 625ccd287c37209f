"""The use cases that change something."""

from collections.abc import Sequence
from typing import Protocol

from service.contract.data_shape import shape_of
from service.contract.data_spec import DataShape, DataSpec, UploadData
from service.contract.datasets import Datasets
from service.contract.errors import Conflict, InvalidSpec, NotFound, StoreUnavailable
from service.contract.record import ExperimentRecord
from service.contract.spec import ExperimentSpec
from service.contract.store import Store, new_id
from service.contract.workload import Limits
from service.plans import Accepted, accepted


class Publisher(Protocol):
    """Tells the workers of queued experiments."""

    def publish(self, experiment_id: str) -> None:
        """Tell them of one."""
        ...


class BatchPublisher(Publisher, Protocol):
    """... and of many at once."""

    def publish_many(self, experiment_ids: Sequence[str]) -> None:
        """Tell them of several."""
        ...


class Submissions:
    """Takes specs in: checked, recorded, then published."""

    def __init__(self, store: Store, datasets: Datasets, publisher: Publisher, limits: Limits) -> None:
        self._store = store
        self._datasets = datasets
        self._publisher = publisher
        self._limits = limits

    def submit(self, spec: ExperimentSpec) -> ExperimentRecord:
        """Queue an experiment.

        Raises:
            InvalidSpec: the spec breaks a limit or contradicts itself; nothing is queued.
            StoreUnavailable: nothing is queued.
        """
        taken, shape = self.checked(spec)
        experiment_id = new_id()
        record = self._store.create(experiment_id, taken.plan.spec, taken.plan.warnings, shape, taken.architecture)
        try:
            self._publisher.publish(experiment_id)
        except StoreUnavailable:
            try:
                self._store.delete(experiment_id)
            except Conflict:
                return self._store.get(experiment_id)  # it runs: the message was sent, only the answer to it was lost
            raise
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
