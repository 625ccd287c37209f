"""What an experiment has recorded so far."""

from enum import StrEnum
from typing import Annotated, Literal

from fastapi import APIRouter, Query, Request, Response

from service.analysis.history import epoch_metrics, gradients, series
from service.contract.store import Store
from service.contract.workload import data_shape, trainable_variables
from service.routes.answers import GradientHistory, Metrics
from service.routes.encoding import as_csv, as_json, as_npz, as_parquet, json_response, with_etag

MAX_STEP = 2**40  # beyond any run; times the bytes of a row it is still an offset that Redis takes


class Role(StrEnum):
    """What a variable is to its layer."""

    KERNEL = "kernel"
    BIAS = "bias"
    GAMMA = "gamma"
    BETA = "beta"
    OTHER = "other"
    ALL = "all"


def router(store: Store) -> APIRouter:
    """`gradients` and `metrics` of an experiment."""
    routes = APIRouter(prefix="/v1/experiments/{experiment_id}", tags=["history"])

    @routes.get("/gradients", response_model=GradientHistory)
    def read_gradients(
        experiment_id: str,
        request: Request,
        statistic: Literal["gradient_norm"] = "gradient_norm",
        role: Role = Role.KERNEL,
        layer: Annotated[str, Query(max_length=200, description="A glob, as in `dense_1*`.")] = "*",
        start: Annotated[int, Query(ge=0, le=MAX_STEP)] = 0,
        stop: Annotated[int | None, Query(ge=0, le=MAX_STEP, description="Half open.")] = None,
        max_points: Annotated[
            int | None, Query(ge=2, description="Cut the steps into buckets that keep their extremes.")
        ] = None,
        format: Literal["json", "csv", "npz", "parquet"] = "json",  # noqa: A002 - the query's name
    ) -> Response:
        """The norm of each variable's gradient at each step, from input to output."""
        spec = store.get(experiment_id).spec
        variables = trainable_variables(spec.model, data_shape(spec.data))
        packed = store.gradient_norms(experiment_id, len(variables), start, stop)
        chosen = gradients(packed, variables, start).select(role, layer)
        if max_points is not None:
            chosen = chosen.downsampled(max_points)
        if format == "json":
            return with_etag(request, as_json(chosen, statistic))
        return {"csv": as_csv, "npz": as_npz, "parquet": as_parquet}[format](chosen)

    @routes.get("/metrics", response_model=Metrics)
    def read_metrics(experiment_id: str, request: Request) -> Response:
        """Loss and accuracy of each epoch, and the loss of each step."""
        store.get(experiment_id)
        by_epoch = epoch_metrics(store.epoch_metrics(experiment_id))
        step_loss = series(store.step_losses(experiment_id))
        body: dict[str, object] = {"epochs": list(range(1, len(by_epoch["loss"]) + 1))}
        body |= {name: values.tolist() for name, values in by_epoch.items()}
        body |= {"steps": list(range(len(step_loss))), "step_loss": step_loss.tolist()}
        return with_etag(request, json_response(body))

    return routes
