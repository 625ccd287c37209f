"""The name that a client gives to a request that it may have to send again."""

import hashlib
from dataclasses import dataclass
from typing import cast

from service.contract.errors import KeyReused
from service.store.script_runner import Scripts

REMEMBERED_S = 86_400


@dataclass(frozen=True)
class RequestKey:
    """An `Idempotency-Key` and what was sent under it, as Redis keeps them for a day."""

    name: str
    body: str  # digest

    @classmethod
    def of(cls, header: str | None, body: str) -> "RequestKey | None":
        """Of a request with this header and this body, in the form in which equal requests have equal texts."""
        return None if header is None else cls(_digest(header), _digest(body))

    def of_tenant(self, tenant: str) -> tuple[str, str]:
        """As the scripts take it: each tenant's keys are its own."""
        return f"{tenant}:{self.name}", self.body


def made_before(scripts: Scripts, request: RequestKey, tenant: str) -> str | None:
    """The id of what the same request has made, by the script REMEMBERED; None if nothing is there.

    Raises:
        KeyReused: the request's key stands for another body.
    """
    made = scripts.run_durably("REMEMBERED", "", *request.of_tenant(tenant))
    if made == -2:
        raise KeyReused
    return None if made is None else cast("bytes", made).decode()


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
