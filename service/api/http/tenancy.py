"""Endpoints get the view of a store or of a use case that belongs to the tenant of the request, never all data."""

from typing import Any, Protocol

from fastapi import Depends, Request


class OfTenants(Protocol):
    """A store or a use case of which each tenant has a view."""

    def of(self, tenant: str) -> Any:
        """The view of this tenant."""
        ...


def own(whole: OfTenants) -> Any:
    """A dependency for an endpoint: the view of `whole` for the tenant that `service.api.access` has found."""

    async def view(request: Request) -> Any:
        return whole.of(request.state.tenant)

    return Depends(view)
