"""Whether the service lives, and whether it can train."""

from http import HTTPStatus

from fastapi import APIRouter, Response
from pydantic import BaseModel, Field

from service.api.http.responses import Responses
from service.contract.errors import StoreUnavailable
from service.store.experiments import Experiments


class Readiness(BaseModel):
    """What the service can reach."""

    redis: bool
    trainers: int = Field(ge=0, description="Training processes that are ready for work, or at it.")


NOT_READY: Responses = {503: {"model": Readiness, "description": "Redis is away, or no trainer has started yet."}}


def router(store: Experiments) -> APIRouter:
    """`/livez` and `/readyz`."""
    routes = APIRouter(tags=["health"])

    @routes.get("/livez")
    async def livez() -> dict[str, str]:  # needs no thread: all of them may wait for Redis
        """The process answers."""
        return {"status": "alive"}

    @routes.get("/readyz", responses=NOT_READY)
    def readyz(response: Response) -> Readiness:
        """Redis answers, and at least one training process has imported TensorFlow."""
        try:
            trainers = len(store.trainer_names())
            redis = True
        except StoreUnavailable:
            trainers, redis = 0, False
        if not trainers:
            response.status_code = HTTPStatus.SERVICE_UNAVAILABLE
        return Readiness(redis=redis, trainers=trainers)

    return routes
