"""The name that a client gives to a request that it may have to repeat."""

import hashlib
from dataclasses import dataclass

from service.contract.errors import KeyReused
from service.store.names import Names
from service.store.results import Creation
from service.store.script_runner import Scripts

REMEMBERED_S = 86_400


@dataclass(frozen=True)
class RequestKey:
    """An `Idempotency-Key` and the body that came with it, as Redis keeps them for a day."""

    name: str  # digest of the header
    body: str  # digest of the body

    @classmethod
    def of(cls, header: str | None, body: str) -> "RequestKey | None":
        """Return the key of a request with this header, or None without one.

        Args:
            header: the header `Idempotency-Key`.
            body: the request in a form in which equal requests have equal texts.
        """
        return None if header is None else cls(_digest(header), _digest(body))


def request_arguments(request: RequestKey | None, names: Names, tenant: str) -> dict[str, str]:
    """Return a request as arguments of the scripts. Each tenant has its own keys."""
    if request is None:
        return {"request_key": "", "body": ""}
    return {"request_key": names("request", f"{tenant}:{request.name}"), "body": request.body}


def created_before(scripts: Scripts, request: RequestKey, names: Names, tenant: str) -> str | None:
    """Return the id of what an earlier request with the same key created; None if nothing of it is left.

    Raises:
        KeyReused: the key came with another body before.
        StoreUnavailable: Redis does not answer.
    """
    code, found = scripts.run_durably("remembered", **request_arguments(request, names, tenant))
    answer = Creation(code.decode())
    if answer is Creation.OTHER_BODY:
        raise KeyReused
    return str(found.decode()) if answer is Creation.REPEATED else None


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
