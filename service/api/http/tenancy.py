"""What a route may touch: the asking tenant's view of a store or of a use case, and never the whole."""

from typing import Any, Protocol

from fastapi import Depends, Request


class OfTenants(Protocol):
    """Something that each tenant has its own view of."""

    def of(self, tenant: str) -> Any:
        """A tenant's."""
        ...


def own(whole: OfTenants) -> Any:
    """For an endpoint's `Annotated`: what `whole` is to the tenant that `service.api.access` has found."""

    async def view(request: Request) -> Any:
        return whole.of(request.state.tenant)

    return Depends(view)
