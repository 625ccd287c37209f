"""Uploaded data sets in Redis. The names of all keys are in `service.store.names`."""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal, cast

import redis
from pydantic import BaseModel, ConfigDict

from service.contract.data_spec import DataShape
from service.contract.errors import Conflict, DamagedRecord, NotFound, StoreFull
from service.store.connection import redis_errors_as_ours
from service.store.damage import Fields, damage_named, discard
from service.store.listing import Page, page_of
from service.store.names import Names
from service.store.results import Deletion, Upload
from service.store.script_runner import Scripts
from service.store.tenants import TenantView

Packed = bytes | memoryview
EXPIRES_S = 600  # arrays that are never registered


class DatasetDescription(BaseModel):
    """The description of an uploaded data set, without its arrays."""

    model_config = ConfigDict(frozen=True)

    name: str | None
    shape: DataShape
    label: str
    columns: tuple[str, ...] | None
    rows_a_class: tuple[int, ...] | None
    x_format: Literal["<f4", "<f8"]
    y_format: Literal["<i4", "<f8"]


@dataclass(frozen=True)
class Dataset:
    """A stored data set."""

    id: str
    description: DatasetDescription
    bytes: int
    created_at: datetime


class Datasets(TenantView):
    """Uploaded data sets in Redis; every method may raise StoreUnavailable."""

    _kind = "data set"

    def add(self, dataset_id: str, description: DatasetDescription, x: Packed, y: Packed, max_bytes: int) -> None:
        """Store a data set.

        Args:
            dataset_id: a new id.
            description: says how the arrays are packed.
            x: inputs, sample by sample.
            y: labels or regression targets.
            max_bytes: of all data sets together.

        Raises:
            StoreFull: all data sets together would take more than `max_bytes`.
        """
        with redis_errors_as_ours():
            self._redis.set(self._names("x", dataset_id), x, ex=EXPIRES_S)
            self._redis.set(self._names("y", dataset_id), y, ex=EXPIRES_S)
        answer = self._scripts.run_durably(
            "add_dataset",
            dataset=dataset_id,
            description=description.model_dump_json(),
            bytes=len(x) + len(y),
            max_bytes=max_bytes,
            tenant=self._tenant,
        )
        if Upload(answer.decode()) is Upload.FULL:
            raise StoreFull(f"data sets may take {max_bytes:,} bytes in all; delete some")

    def open(self, dataset_id: str) -> "DatasetHandle":
        """Return the handle of a data set, through which everything of it is read and changed.

        Raises:
            NotFound: there is none, or it belongs to another tenant.
        """
        try:
            fields = self._fields(dataset_id, self._names("dataset_hash", dataset_id))
        except DamagedRecord:
            fields = {}
        return DatasetHandle(dataset_id, fields, self._redis, self._names, self._scripts)

    def get(self, dataset_id: str) -> Dataset:
        """Return the description of a data set.

        Raises:
            NotFound: there is none, or it belongs to another tenant.
            DamagedRecord: it cannot be read.
        """
        return self.open(dataset_id).dataset

    def page(self, limit: int, before: str | None) -> Page[Dataset]:
        """List data sets older than the id `before`, newest first; damaged ones are counted and left out."""

        def key(dataset_id: str) -> str:
            return self._names("dataset_hash", dataset_id)

        return page_of(self._redis, self._index("datasets"), key, _dataset, self._damage, limit, before)


class DatasetHandle:
    """One data set. Only a view creates a handle, after it has checked that its tenant may see the data set.

    Every method may raise StoreUnavailable.

    Args:
        dataset_id: the data set.
        fields: of its hash; none if its key holds no hash.
        client: the connection.
        names: of all keys.
        scripts: over the same client.
    """

    def __init__(self, dataset_id: str, fields: Fields, client: redis.Redis, names: Names, scripts: Scripts) -> None:
        self.id = dataset_id
        self._fields = fields
        self._redis = client
        self._names = names
        self._scripts = scripts

    @property
    def dataset(self) -> Dataset:
        """Its description; raises DamagedRecord if it cannot be read."""
        return _dataset(self.id, self._fields)

    def arrays(self) -> tuple[bytes, bytes]:
        """Return inputs and labels, packed as the description says.

        Raises:
            NotFound: the data set was deleted.
        """
        with redis_errors_as_ours():
            x, y = cast("list[Any]", self._redis.mget(self._names("x", self.id), self._names("y", self.id)))
        if x is None or y is None:
            raise self._missing()
        return x, y

    def delete(self) -> None:
        """Delete the data set.

        Raises:
            NotFound: the data set was deleted before.
            Conflict: an experiment that has not ended reads it.
        """
        if not self._fields:
            discard(self._redis, self._scripts, self._names, [self.id])
            return
        match Deletion(self._scripts.run("delete_dataset", dataset=self.id).decode()):
            case Deletion.MISSING:
                raise self._missing()
            case Deletion.IN_USE:
                raise Conflict("experiments that have not ended use the data set; cancel them first")

    def _missing(self) -> NotFound:
        return NotFound(f"there is no data set {self.id}")


def _dataset(dataset_id: str, fields: Fields) -> Dataset:
    with damage_named("data set", dataset_id):
        return Dataset(
            dataset_id,
            DatasetDescription.model_validate_json(fields[b"description"]),
            int(fields[b"bytes"]),
            datetime.fromtimestamp(float(fields[b"created_at"]), tz=UTC),
        )
