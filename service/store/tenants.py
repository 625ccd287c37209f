"""Tenant-scoped views of the stores.

The tenant of an experiment, a study or a data set is a field of its hash, and absent where there are no tenants. For
each index of all records there is one for each tenant; the scripts keep both. Workers read only the former.
"""

from collections.abc import Mapping
from copy import copy
from typing import Self

import redis

from service.contract.errors import DamagedRecord, NotFound
from service.store.damage import hash_fields
from service.store.names import Names

EVERYBODY = ""  # the view of all records; what it creates belongs to no tenant


class TenantView:
    """Records in Redis as one tenant sees them; those of other tenants do not exist in this view."""

    _kind: str  # in the text of errors
    _redis: redis.Redis
    _names: Names
    _tenant: str = EVERYBODY

    def of(self, tenant: str) -> Self:
        """Return the view of a tenant, over the same connection."""
        view = copy(self)
        view._tenant = tenant
        return view

    def _index(self, name: str, *values: str) -> str:
        index = self._names(name, *values)
        return self._names.of_tenant(self._tenant, index) if self._tenant else index

    def _fields(self, record_id: str, key: str) -> dict[bytes, bytes]:
        """Return the fields of a hash that the tenant may see.

        Raises:
            NotFound: there is none.
            DamagedRecord: the key holds no hash. A tenant does not learn of it, because its owner is not known.
        """
        try:
            fields = hash_fields(self._redis, self._kind, record_id, key)
        except DamagedRecord:
            if self._tenant != EVERYBODY:
                raise self._missing(record_id) from None
            raise
        if not self._sees(fields):
            raise self._missing(record_id)
        return fields

    def _missing(self, record_id: str) -> NotFound:
        return NotFound(f"there is no {self._kind} {record_id}")

    def _sees(self, fields: Mapping[bytes, bytes]) -> bool:
        return bool(fields) and self._tenant in (EVERYBODY, fields.get(b"tenant", b"").decode(errors="replace"))
