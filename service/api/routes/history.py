"""The recorded history of an experiment: gradient statistics, metrics and the trained model."""

from enum import StrEnum
from typing import Annotated, Literal

import numpy as np
from fastapi import APIRouter, Query, Request, Response
from pydantic import BaseModel, Field

from service.analysis.stored_history import joined, points, series, table, thinned
from service.api.http.encoding import json_of_arrays, streamed
from service.api.http.openapi import CONDITIONAL, ETAG, ETAG_OF_JSON, NOT_MODIFIED, Responses, files, problems
from service.api.http.tables import csv_file, npz_file, parquet_file
from service.api.http.tenancy import own
from service.application.history_reading import blocks, recorded_steps
from service.application.plans import Plans
from service.contract.errors import NotFound
from service.contract.history_format import EPOCHS, STEP_LOSS, bytes_per_value, value_format
from service.contract.media_types import CSV, NPZ, PARQUET
from service.contract.network.graph import Variable
from service.contract.recording_spec import Statistic
from service.contract.training_spec import EPOCH_METRICS
from service.store.experiments import Experiments

KERAS_FILE = "application/octet-stream"
GRADIENT_ANSWERS: Responses = {200: {"headers": ETAG_OF_JSON, "content": files(CSV, NPZ, PARQUET)}}
ATTACHED = {"Content-Disposition": {"description": "The name of the file.", "schema": {"type": "string"}}}
MODEL_ANSWERS: Responses = {200: {"headers": ATTACHED, "content": files(KERAS_FILE)}}
MAX_STEP = 2**40  # more than any run has; multiplied by the bytes of a step it is still a valid offset for Redis


class Role(StrEnum):
    """The role of a variable in its layer."""

    KERNEL = "kernel"
    BIAS = "bias"
    GAMMA = "gamma"
    BETA = "beta"
    RECURRENT_KERNEL = "recurrent_kernel"
    EMBEDDINGS = "embeddings"
    ALPHA = "alpha"
    OTHER = "other"
    ALL = "all"


class GradientHistory(BaseModel):
    """A statistic at the recorded steps: `values` has one row per variable and one column per step."""

    statistic: str
    variables: tuple[Variable, ...] = Field(description="From input to output.")
    steps: list[int]
    values: list[list[float | None]] = Field(description="NaN and infinity are null.")
    first_nonfinite_step: int | None = Field(description="The first step with NaN or infinity among these variables.")


class Metrics(BaseModel):
    """Metrics of each epoch and the loss of each step; NaN and infinity are null."""

    epochs: list[int]
    loss: list[float | None]
    accuracy: list[float | None] = Field(description="Null for regression; mse and mae are null for classification.")
    mse: list[float | None]
    mae: list[float | None]
    val_loss: list[float | None]
    val_accuracy: list[float | None]
    val_mse: list[float | None]
    val_mae: list[float | None]
    steps: list[int]
    step_loss: list[float | None]


def router(store: Experiments, plans: Plans) -> APIRouter:
    """`gradients`, `metrics` and `model` of an experiment."""
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
        layer: Annotated[
            str, Query(max_length=200, description="A glob pattern of layer names.", examples=["dense_1*"])
        ] = "*",
        start: Annotated[int, Query(ge=0, le=MAX_STEP)] = 0,
        stop: Annotated[int | None, Query(ge=0, le=MAX_STEP, description="The first step after the range.")] = None,
        max_points: Annotated[
            int | None,
            Query(ge=2, description="Maximum number of steps in the answer; thinning keeps minima and maxima."),
        ] = None,
        format: Literal["json", "csv", "npz", "parquet"] = "json",  # noqa: A002 - the name of the query parameter
    ) -> Response:
        """Read a statistic of each variable or hidden activation at each recorded step."""
        experiment = store.open(experiment_id)
        planned = plans.of_record(experiment.record)
        stored = Statistic.GRADIENT_NORM if statistic is Statistic.GRADIENT_RMS else statistic
        if stored not in planned.recorded:
            recorded = ", ".join(planned.recorded)
            raise NotFound(f"{statistic} was not recorded; recording.statistics of this run names {recorded}")
        rows = recorded_steps(experiment, planned, stored, start, stop)
        chosen = (
            (block.root_mean_squares() if statistic is Statistic.GRADIENT_RMS else block)
            .expanded(planned.activations if statistic.of_activations else planned.variables)
            .select("all" if statistic.of_activations else role, layer)
            for block in blocks(experiment, planned, stored, rows)
        )
        shown, count = thinned(chosen, len(rows), max_points), points(len(rows), max_points)
        match format:
            case "csv":
                return streamed(csv_file(shown), CSV)
            case "npz":
                return streamed(npz_file(shown, count), NPZ)
            case "parquet":
                return streamed(parquet_file(shown), PARQUET)
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
        """Read the metrics of each epoch and the loss of each step."""
        experiment = store.open(experiment_id)
        planned = plans.of_record(experiment.record)
        precision = planned.spec.training.precision
        size, values, names = bytes_per_value(precision), value_format(precision), planned.objective.epoch_metrics
        by_epoch = table(experiment.series(EPOCHS, size * len(names)), names, values)
        step_loss = series(experiment.series(STEP_LOSS, size), values)
        epochs = len(by_epoch["loss"])
        body: dict[str, object] = {"epochs": list(range(1, epochs + 1))}
        body |= {name: by_epoch.get(name, [None] * epochs) for name in EPOCH_METRICS}
        return json_of_arrays(request, body | {"steps": np.arange(len(step_loss)), "step_loss": step_loss})

    @routes.get("/model", response_class=Response, responses=MODEL_ANSWERS | problems(404))
    def read_model(experiment_id: str, store: Annotated[Experiments, stored]) -> Response:
        """Download the trained model as a `.keras` file; 404 unless `recording.keep_model` is set."""
        file = store.open(experiment_id).model()
        headers = {"Content-Disposition": f'attachment; filename="{experiment_id}.keras"'}
        return Response(file, media_type=KERAS_FILE, headers=headers)

    return routes
