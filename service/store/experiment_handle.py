"""One experiment that a view of the store has opened."""

from collections.abc import Callable
from functools import cached_property
from typing import cast

import redis

from service.contract.errors import Conflict, DamagedRecord, NotFound
from service.contract.record import ExperimentRecord, Status
from service.store.connection import redis_errors_as_ours
from service.store.damage import Fields, discard
from service.store.names import Names
from service.store.results import Deletion
from service.store.script_runner import Scripts
from service.store.stored_record import record_of


class ExperimentHandle:
    """One experiment. Only a view creates a handle, after it has checked that its tenant may see the experiment.

    Every method may raise StoreUnavailable.

    Args:
        experiment_id: the experiment.
        fields: of its hash, as the view has read them.
        read: reads them again; raises NotFound if the experiment is gone.
        client: the connection.
        names: of all keys.
        scripts: over the same client.
    """

    def __init__(
        self,
        experiment_id: str,
        fields: Fields,
        read: Callable[[], Fields],
        client: redis.Redis,
        names: Names,
        scripts: Scripts,
    ) -> None:
        self.id = experiment_id
        self._fields = fields
        self._read = read
        self._redis = client
        self._names = names
        self._scripts = scripts

    @cached_property
    def record(self) -> ExperimentRecord:
        """The record as it was when the handle was opened; raises DamagedRecord if it cannot be read."""
        return record_of(self.id, self._fields)

    def current_record(self) -> ExperimentRecord:
        """Return the record as it is now.

        Raises:
            NotFound: the experiment was deleted.
            DamagedRecord: it cannot be read.
        """
        return record_of(self.id, self._read())

    def cancel(self) -> bool:
        """Cancel a queued experiment at once, and ask a running one to stop at its next chunk.

        Returns:
            Whether it had not ended before.

        Raises:
            NotFound: the experiment was deleted.
            DamagedRecord: it cannot be read.
        """
        _ = self.record
        before = self._scripts.run("cancel_experiment", id=self.id).decode()
        if not before:
            raise self._missing()
        return not Status(before).ended

    def delete(self) -> None:
        """Delete the experiment and its history.

        Raises:
            NotFound: the experiment was deleted before.
            Conflict: it is running, and its record can be read.
        """
        try:
            tags = self.record.spec.tags
        except DamagedRecord:
            discard(self._redis, self._scripts, self._names, [self.id])
            return
        match Deletion(self._scripts.run("delete_experiment", id=self.id, rest=tags).decode()):
            case Deletion.MISSING:
                raise self._missing()
            case Deletion.RUNNING:
                raise Conflict("the experiment is running; cancel it first")

    def series(self, name: str, row_bytes: int, start: int = 0, stop: int | None = None) -> bytes:
        """Read a series of the history (`service.contract.history_format`).

        Args:
            name: the series.
            row_bytes: bytes of one row, which is a recorded step or an epoch.
            start: the first row.
            stop: the row after the last one; None for all that exist.

        Returns:
            The packed rows that exist.
        """
        if stop is not None and stop <= start:
            return b""
        key, last = self._names("series", self.id, name), -1 if stop is None else stop * row_bytes - 1
        with redis_errors_as_ours():
            return cast("bytes", self._redis.getrange(key, start * row_bytes, last))

    def rows(self, name: str, row_bytes: int) -> int:
        """Return how many whole rows of `row_bytes` bytes a series has so far."""
        with redis_errors_as_ours():
            return self._redis.strlen(self._names("series", self.id, name)) // row_bytes

    def model(self) -> bytes:
        """Return the trained model as a `.keras` file.

        Raises:
            NotFound: none was kept, or not yet.
            DamagedRecord: the record cannot be read.
        """
        record = self.record
        with redis_errors_as_ours():
            found = cast("bytes | None", self._redis.get(self._names("model", self.id)))
        if found is None:
            raise NotFound(_why_no_model(record))
        return found

    def _missing(self) -> NotFound:
        return NotFound(f"there is no experiment {self.id}")


def _why_no_model(record: ExperimentRecord) -> str:
    if not record.spec.recording.keep_model:
        return "the model was not kept: set recording.keep_model"
    if not record.status.ended:
        return f"there is no model yet: the experiment is {record.status}"
    return f"there is no model: the experiment ended as {record.status}"
