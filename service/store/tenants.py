"""Tenant-scoped views of the stores.

The tenant of an experiment, a study or a data set is a field of its hash, and absent where there are no tenants. For
each index of all records there is one for each tenant; the scripts keep both. Workers read only the former.
"""

from collections.abc import Mapping
from copy import copy
from typing import Self

import redis

from service.contract.errors import DamagedRecord, NotFound
from service.store.clock import ShiftedClock
from service.store.damage import DamageLog, hash_fields
from service.store.names import Names
from service.store.script_runner import Scripts

EVERYBODY = ""  # the view of all records; what it creates belongs to no tenant


class TenantView:
    """Records in Redis as one tenant sees them; those of other tenants do not exist in this view.

    Args:
        client: the connection.
        prefix: of all keys.
        clock: moves the clock of the scripts; only for tests.
    """

    _kind: str  # in the text of errors
    _tenant: str = EVERYBODY

    def __init__(self, client: redis.Redis, prefix: str = "gradflow", clock: ShiftedClock | None = None) -> None:
        self._redis = client
        self._names = Names(prefix)
        self._scripts = Scripts(client, self._names, clock)
        self._damage = DamageLog(self._kind)

    @property
    def client(self) -> redis.Redis:
        """The connection, for other stores on the same server."""
        return self._redis

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
