"""Whose things are seen: a store as one tenant has it; every reading by an id begins with `get`.

The tenant of an experiment, a study or a data set is a field of its hash, absent where it is nobody's. Beside each
index of all, `gradflow:NAME`, there is one of each tenant, `gradflow:tenant:TENANT:NAME`; the scripts keep both.
Workers read only the former.
"""

from collections.abc import Mapping
from copy import copy
from typing import Self

EVERYBODY = ""  # sees all that there is; what it makes is nobody's


class TenantView:
    """Things in Redis as one tenant sees them; what belongs to others is not there."""

    _prefix: str
    _tenant: str = EVERYBODY

    def of(self, tenant: str) -> Self:
        """The same as a tenant sees it, over the same connection."""
        view = copy(self)
        view._tenant = tenant
        return view

    def _index(self, name: str) -> str:
        return f"{self._prefix}:tenant:{self._tenant}:{name}" if self._tenant else f"{self._prefix}:{name}"

    def _sees(self, fields: Mapping[bytes, bytes]) -> bool:
        """Whether there is such a thing, as its hash says, and the tenant may know of it."""
        return bool(fields) and self._tenant in (EVERYBODY, fields.get(b"tenant", b"").decode())
