"""The use cases that change something."""

from typing import Protocol

from service.contract.errors import Conflict, StoreUnavailable
from service.contract.record import ExperimentRecord
from service.contract.spec import ExperimentSpec
from service.contract.store import Store, new_experiment_id
from service.contract.workload import Limits, check_limits


class Publisher(Protocol):
    """Tells the workers of queued experiments."""

    def publish(self, experiment_id: str) -> None:
        """Tell them of one."""
        ...


class Submissions:
    """Takes specs in: checked, recorded, then published."""

    def __init__(self, store: Store, publisher: Publisher, limits: Limits) -> None:
        self._store = store
        self._publisher = publisher
        self._limits = limits

    def submit(self, spec: ExperimentSpec) -> ExperimentRecord:
        """Queue an experiment.

        Raises:
            InvalidSpec: the spec breaks a limit or contradicts itself; nothing is queued.
            StoreUnavailable: nothing is queued.
        """
        spec = spec.resolved()
        check_limits(spec, self._limits)
        experiment_id = new_experiment_id()
        self._store.create(experiment_id, spec)
        try:
            self._publisher.publish(experiment_id)
        except StoreUnavailable:
            try:
                self._store.delete(experiment_id)
            except Conflict:
                pass  # it runs: the message was sent, only the answer to it was lost
            else:
                raise
        return self._store.get(experiment_id)

    def cancel(self, experiment_id: str) -> tuple[ExperimentRecord, bool]:
        """Ask for the end of an experiment; its record, and whether there was anything left to end."""
        asked = self._store.cancel(experiment_id)
        return self._store.get(experiment_id), asked
