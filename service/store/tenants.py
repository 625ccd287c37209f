"""Whose things are seen: a store as one tenant has it; every reading by an id begins with `get`.

The tenant of an experiment, a study or a data set is a field of its hash, absent where it is nobody's. Beside each
index of all, `gradflow:NAME`, there is one of each tenant, `gradflow:tenant:TENANT:NAME`; the scripts keep both.
Workers read only the former.
"""

from collections.abc import Mapping
from copy import copy
from typing import Self

import redis

from service.contract.errors import DamagedRecord, NotFound
from service.store.damage import hash_fields

EVERYBODY = ""  # sees all that there is; what it makes is nobody's


class TenantView:
    """Things in Redis as one tenant sees them; what belongs to others is not there."""

    _kind: str  # as errors name it
    _redis: redis.Redis
    _prefix: str
    _tenant: str = EVERYBODY

    def of(self, tenant: str) -> Self:
        """The same as a tenant sees it, over the same connection."""
        view = copy(self)
        view._tenant = tenant
        return view

    def _index(self, name: str) -> str:
        return f"{self._prefix}:tenant:{self._tenant}:{name}" if self._tenant else f"{self._prefix}:{name}"

    def _fields(self, record_id: str, key: str) -> dict[bytes, bytes]:
        """The fields of a hash that the tenant may see.

        Raises:
            NotFound: there is none.
            DamagedRecord: the key holds no hash. A tenant does not learn of it, for nothing says whose it was.
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
        """Whether there is such a thing, as its hash says, and the tenant may know of it."""
        return bool(fields) and self._tenant in (EVERYBODY, fields.get(b"tenant", b"").decode())
