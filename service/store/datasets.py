"""The one owner of the keys of uploaded data sets in Redis.

gradflow:{ID}:dataset       hash: description, bytes, created_at, tenant
gradflow:{ID}:x             string: inputs, row after row; and :y labels
gradflow:{ID}:users         set: experiments that have not ended and read it
gradflow:datasets           sorted set of ids, which sort by time; and one for each tenant
gradflow:datasets:bytes     bytes of all of them
"""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal, cast

import redis
from pydantic import BaseModel, ConfigDict

from service.contract.data_spec import DataShape
from service.contract.errors import Conflict, DamagedRecord, NotFound, StoreFull
from service.store import scripts
from service.store.connection import redis_errors_as_ours
from service.store.damage import DamageLog, Fields, damage_named, discard
from service.store.listing import Page, page_of
from service.store.script_runner import Scripts
from service.store.tenants import TenantView

Packed = bytes | memoryview
EXPIRES_S = 600  # arrays whose registration never came


class DatasetDescription(BaseModel):
    """What is known of an uploaded data set beside its numbers."""

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

    def __init__(self, client: redis.Redis, prefix: str = "gradflow") -> None:
        self._redis = client
        self._prefix = prefix
        names = ("ADD_DATASET", "DELETE_DATASET", "DISCARD")
        self._scripts = Scripts(client, prefix, {name: getattr(scripts, name) for name in names})
        self._damage = DamageLog(self._kind)

    def add(self, dataset_id: str, description: DatasetDescription, x: Packed, y: Packed, most_bytes: int) -> None:
        """Keep a data set.

        Raises:
            StoreFull: all data sets together would take more than `most_bytes`.
        """
        with redis_errors_as_ours():
            self._redis.set(self._key(dataset_id, "x"), x, ex=EXPIRES_S)
            self._redis.set(self._key(dataset_id, "y"), y, ex=EXPIRES_S)
        size, described = len(x) + len(y), description.model_dump_json()
        added = self._scripts.run_durably("ADD_DATASET", dataset_id, described, size, most_bytes, self._tenant)
        if not added:
            raise StoreFull(f"data sets may take {most_bytes:,} bytes in all; delete some")

    def get(self, dataset_id: str) -> Dataset:
        """A data set without its numbers.

        Raises:
            NotFound: there is none.
            DamagedRecord: it cannot be read.
        """
        return _dataset(dataset_id, self._fields(dataset_id, self._key(dataset_id, "dataset")))

    def arrays(self, dataset_id: str) -> tuple[bytes, bytes]:
        """Inputs and labels, packed as the description says."""
        with redis_errors_as_ours():
            x, y = cast("list[Any]", self._redis.mget(self._key(dataset_id, "x"), self._key(dataset_id, "y")))
        if x is None or y is None:
            raise NotFound(f"there is no data set {dataset_id}")
        return x, y

    def page(self, limit: int, before: str | None) -> Page[Dataset]:
        """Up to `limit` of them, newest first, older than the id `before`; damaged ones are counted and left out."""
        index = self._index("datasets")
        return page_of(self._redis, index, lambda i: self._key(i, "dataset"), _dataset, self._damage, limit, before)

    def delete(self, dataset_id: str) -> None:
        """Forget a data set.

        Raises:
            NotFound: there is none.
            Conflict: an experiment that has not ended reads it.
        """
        try:
            self._fields(dataset_id, self._key(dataset_id, "dataset"))  # of a tenant who may delete it
        except DamagedRecord:
            discard(self._redis, self._scripts, self._prefix, [dataset_id])
            return
        deleted = self._scripts.run("DELETE_DATASET", dataset_id)
        if deleted == -1:
            raise NotFound(f"there is no data set {dataset_id}")
        if deleted == 0:
            raise Conflict("experiments that have not ended use the data set; cancel them first")

    def _key(self, dataset_id: str, part: str) -> str:
        return f"{self._prefix}:{{{dataset_id}}}:{part}"


def _dataset(dataset_id: str, fields: Fields) -> Dataset:
    with damage_named("data set", dataset_id):
        return Dataset(
            dataset_id,
            DatasetDescription.model_validate_json(fields[b"description"]),
            int(fields[b"bytes"]),
            datetime.fromtimestamp(float(fields[b"created_at"]), tz=UTC),
        )
