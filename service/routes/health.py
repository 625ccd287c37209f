"""Whether the service lives, and whether it can train."""

from http import HTTPStatus

from fastapi import APIRouter, Response

from service.contract.errors import StoreUnavailable
from service.contract.store import Store


def router(store: Store) -> APIRouter:
    """`/livez` and `/readyz`."""
    routes = APIRouter(tags=["health"])

    @routes.get("/livez")
    def livez() -> dict[str, str]:
        """The process answers."""
        return {"status": "alive"}

    @routes.get("/readyz", responses={503: {"description": "Redis is away, or no trainer has started yet."}})
    def readyz(response: Response) -> dict[str, bool | int]:
        """Redis answers, and at least one training process has imported TensorFlow."""
        try:
            trainers = len(store.trainer_names())
            redis = True
        except StoreUnavailable:
            trainers, redis = 0, False
        if not trainers:
            response.status_code = HTTPStatus.SERVICE_UNAVAILABLE
        return {"redis": redis, "trainers": trainers}

    return routes
