"""What an experiment has recorded so far."""

from enum import StrEnum
from typing import Annotated, Literal

import numpy as np
from fastapi import APIRouter, Query, Request, Response

from service.analysis.stored_history import joined, points, series, table, thinned
from service.api.http.answers import GradientHistory, Metrics
from service.api.http.encoding import json_of_arrays, streamed
from service.api.http.openapi import CONDITIONAL, ETAG, ETAG_OF_JSON, NOT_MODIFIED, Responses, files, problems
from service.api.http.tables import csv_file, npz_file, parquet_file
from service.api.http.tenancy import own
from service.application.history_reading import blocks, recorded_steps
from service.application.plans import Plans
from service.contract.errors import NotFound
from service.contract.history_format import EPOCHS, STEP_LOSS, bytes_per_value, value_format
from service.contract.plan import Plan
from service.contract.recording_spec import Statistic
from service.store.experiments import Experiments

EPOCH_METRICS = ("loss", "accuracy", "mse", "mae", "val_loss", "val_accuracy", "val_mse", "val_mae")
GRADIENT_ANSWERS: Responses = {
    200: {"headers": ETAG_OF_JSON, "content": files("text/csv", "application/zip", "application/vnd.apache.parquet")}
}
ATTACHED = {"Content-Disposition": {"description": "The file's name.", "schema": {"type": "string"}}}
MODEL_ANSWERS: Responses = {200: {"headers": ATTACHED, "content": files("application/octet-stream")}}
MAX_STEP = 2**40  # beyond any run; times the bytes of a row it is still an offset that Redis takes


class Role(StrEnum):
    """What a variable is to its layer."""

    KERNEL = "kernel"
    BIAS = "bias"
    GAMMA = "gamma"
    BETA = "beta"
    RECURRENT_KERNEL = "recurrent_kernel"
    EMBEDDINGS = "embeddings"
    ALPHA = "alpha"
    OTHER = "other"
    ALL = "all"


def router(store: Experiments, plans: Plans) -> APIRouter:
    """`gradients` and `metrics` of an experiment."""
    routes = APIRouter(prefix="/v1/experiments/{experiment_id}", tags=["history"])
    stored = own(store)

    @routes.get(
        "/gradients",
        response_model=GradientHistory,
        responses=GRADIENT_ANSWERS | NOT_MODIFIED | problems(404, 422),
        openapi_extra=CONDITIONAL,
    )
    def read_gradients(
        experiment_id: str,
        request: Request,
        store: Annotated[Experiments, stored],
        statistic: Statistic = Statistic.GRADIENT_NORM,
        role: Role = Role.KERNEL,
        layer: Annotated[str, Query(max_length=200, description="A glob.", examples=["dense_1*"])] = "*",
        start: Annotated[int, Query(ge=0, le=MAX_STEP)] = 0,
        stop: Annotated[int | None, Query(ge=0, le=MAX_STEP, description="Half open.")] = None,
        max_points: Annotated[
            int | None, Query(ge=2, description="Cut the steps into buckets that keep their extremes.")
        ] = None,
        format: Literal["json", "csv", "npz", "parquet"] = "json",  # noqa: A002 - the query's name
    ) -> Response:
        """A statistic of each variable, or hidden activation, at each recorded step, from input to output."""
        planned = plans.of_record(store.get(experiment_id))
        stored = Statistic.GRADIENT_NORM if statistic is Statistic.GRADIENT_RMS else statistic
        if stored not in planned.recorded:
            raise NotFound(f"{statistic} was not recorded; recording.statistics of this run names {_names(planned)}")
        rows = recorded_steps(store, experiment_id, planned, stored, start, stop)
        chosen = (
            (block.root_mean_squares() if statistic is Statistic.GRADIENT_RMS else block)
            .expanded(planned.activations if statistic.of_activations else planned.variables)
            .select("all" if statistic.of_activations else role, layer)
            for block in blocks(store, experiment_id, planned, stored, rows)
        )
        shown, count = thinned(chosen, len(rows), max_points), points(len(rows), max_points)
        match format:
            case "csv":
                return streamed(csv_file(shown), "text/csv")
            case "npz":
                return streamed(npz_file(shown, count), "application/zip")
            case "parquet":
                return streamed(parquet_file(shown), "application/vnd.apache.parquet")
        whole = joined(shown, count)
        return json_of_arrays(
            request,
            {
                "statistic": statistic,
                "variables": whole.variables,
                "steps": whole.steps,
                "values": whole.values,
                "first_nonfinite_step": whole.first_nonfinite_step,
            },
        )

    @routes.get(
        "/metrics",
        response_model=Metrics,
        responses={200: {"headers": ETAG}} | NOT_MODIFIED | problems(404),
        openapi_extra=CONDITIONAL,
    )
    def read_metrics(experiment_id: str, request: Request, store: Annotated[Experiments, stored]) -> Response:
        """Loss and accuracy of each epoch, and the loss of each step."""
        planned = plans.of_record(store.get(experiment_id))
        precision = planned.spec.training.precision
        size, values, names = bytes_per_value(precision), value_format(precision), planned.objective.epoch_metrics
        by_epoch = table(store.series(experiment_id, EPOCHS, size * len(names)), names, values)
        step_loss = series(store.series(experiment_id, STEP_LOSS, size), values)
        epochs = len(by_epoch["loss"])
        body: dict[str, object] = {"epochs": list(range(1, epochs + 1))}
        body |= {name: by_epoch.get(name, [None] * epochs) for name in EPOCH_METRICS}
        return json_of_arrays(request, body | {"steps": np.arange(len(step_loss)), "step_loss": step_loss})

    @routes.get("/model", response_class=Response, responses=MODEL_ANSWERS | problems(404))
    def read_model(experiment_id: str, store: Annotated[Experiments, stored]) -> Response:
        """The trained model as a `.keras` file, where `recording.keep_model` was set."""
        file = store.model(experiment_id)
        headers = {"Content-Disposition": f'attachment; filename="{experiment_id}.keras"'}
        return Response(file, media_type="application/octet-stream", headers=headers)

    return routes


def _names(planned: Plan) -> str:
    return ", ".join(planned.recorded)
