"""Whether the process answers, and whether the service can train."""

from http import HTTPStatus

from fastapi import APIRouter, Response
from pydantic import BaseModel, Field

from service.api.http.encoding import json_response
from service.api.http.openapi import Responses, problem
from service.api.http.problem import NotReady, ProblemResponse
from service.contract.errors import StoreUnavailable
from service.store.experiments import Experiments

NO_REDIS = "Redis does not answer"
NO_TRAINER = "no training process has started yet"


class Liveness(BaseModel):
    """The process answers."""

    status: str = Field(description="Always `alive`.", examples=["alive"])


class Readiness(BaseModel):
    """What the service can reach."""

    redis: bool = Field(description="Whether Redis answers.")
    trainers: int = Field(ge=0, description="Training processes that have started, idle or training.")


NOT_READY: Responses = {503: problem(503, "Redis does not answer, or no training process has started yet.", NotReady)}


def router(store: Experiments, retry_after_s: int) -> APIRouter:
    """`/livez` and `/readyz`."""
    routes = APIRouter(tags=["health"])

    @routes.get("/livez", response_model=Liveness)
    async def livez() -> Response:  # needs no thread: all of them may wait for Redis
        """Tell that the process answers."""
        return json_response({"status": "alive"})

    @routes.get("/readyz", response_model=Readiness, responses=NOT_READY)
    def readyz() -> Response:
        """Tell whether Redis answers and at least one training process has imported TensorFlow."""
        try:
            redis, trainers = True, len(store.trainer_names())
        except StoreUnavailable:
            redis, trainers = False, 0
        if trainers:
            return json_response({"redis": redis, "trainers": trainers})
        why = NO_TRAINER if redis else NO_REDIS
        headers = {"Retry-After": str(retry_after_s)}
        return ProblemResponse(HTTPStatus.SERVICE_UNAVAILABLE, why, headers, redis=redis, trainers=trainers)

    return routes
