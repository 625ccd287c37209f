"""What an experiment has recorded so far."""

from enum import StrEnum
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Request, Response

from service.analysis.history import series, table, unpacked
from service.contract.errors import NotFound
from service.contract.history import EPOCHS, STEP_LOSS, bytes_a_value, value_format
from service.contract.plan import Plan, plan
from service.contract.recording_spec import Statistic
from service.contract.store import Store
from service.routes.answers import GradientHistory, Metrics
from service.routes.encoding import as_csv, as_json, as_npz, as_parquet, json_response, with_etag

EPOCH_METRICS = ("loss", "accuracy", "mse", "mae", "val_loss", "val_accuracy", "val_mse", "val_mae")
MODEL_ANSWERS: dict[int | str, dict[str, Any]] = {
    200: {"content": {"application/octet-stream": {}}},
    404: {"description": "No such experiment, or no model of it: the reason is in `detail`."},
}
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


def router(store: Store) -> APIRouter:
    """`gradients` and `metrics` of an experiment."""
    routes = APIRouter(prefix="/v1/experiments/{experiment_id}", tags=["history"])

    @routes.get("/gradients", response_model=GradientHistory)
    def read_gradients(
        experiment_id: str,
        request: Request,
        statistic: Statistic = Statistic.GRADIENT_NORM,
        role: Role = Role.KERNEL,
        layer: Annotated[str, Query(max_length=200, description="A glob, as in `dense_1*`.")] = "*",
        start: Annotated[int, Query(ge=0, le=MAX_STEP)] = 0,
        stop: Annotated[int | None, Query(ge=0, le=MAX_STEP, description="Half open.")] = None,
        max_points: Annotated[
            int | None, Query(ge=2, description="Cut the steps into buckets that keep their extremes.")
        ] = None,
        format: Literal["json", "csv", "npz", "parquet"] = "json",  # noqa: A002 - the query's name
    ) -> Response:
        """A statistic of each variable, or hidden activation, at each recorded step, from input to output."""
        record = store.get(experiment_id)
        planned = plan(record.spec, record.shape)
        stored = Statistic.GRADIENT_NORM if statistic is Statistic.GRADIENT_RMS else statistic
        if stored not in planned.recorded:
            raise NotFound(f"{statistic} was not recorded; recording.statistics of this run names {_names(planned)}")
        every = record.spec.recording.every
        first, last = -(-start // every), None if stop is None else -(-stop // every)
        packed = store.series(experiment_id, stored, planned.bytes_a_step(stored), first, last)
        chosen = unpacked(packed, planned, stored, first)
        if statistic is Statistic.GRADIENT_RMS:
            chosen = chosen.root_mean_squares()
        chosen = chosen.select("all" if statistic.of_activations else role, layer)
        if max_points is not None:
            chosen = chosen.downsampled(max_points)
        if format == "json":
            return with_etag(request, as_json(chosen, statistic))
        return {"csv": as_csv, "npz": as_npz, "parquet": as_parquet}[format](chosen)

    @routes.get("/metrics", response_model=Metrics)
    def read_metrics(experiment_id: str, request: Request) -> Response:
        """Loss and accuracy of each epoch, and the loss of each step."""
        record = store.get(experiment_id)
        objective, precision = plan(record.spec, record.shape).objective, record.spec.training.precision
        size, values = bytes_a_value(precision), value_format(precision)
        names = objective.epoch_metrics
        by_epoch = table(store.series(experiment_id, EPOCHS, size * len(names)), names, values)
        step_loss = series(store.series(experiment_id, STEP_LOSS, size), values)
        epochs = len(by_epoch["loss"])
        body: dict[str, object] = {"epochs": list(range(1, epochs + 1))}
        body |= {name: by_epoch[name].tolist() if name in by_epoch else [None] * epochs for name in EPOCH_METRICS}
        body |= {"steps": list(range(len(step_loss))), "step_loss": step_loss.tolist()}
        return with_etag(request, json_response(body))

    @routes.get("/model", response_class=Response, responses=MODEL_ANSWERS)
    def read_model(experiment_id: str) -> Response:
        """The trained model as a `.keras` file, where `recording.keep_model` was set."""
        file = store.model(experiment_id)
        headers = {"Content-Disposition": f'attachment; filename="{experiment_id}.keras"'}
        return Response(file, media_type="application/octet-stream", headers=headers)

    return routes


def _names(planned: Plan) -> str:
    return ", ".join(planned.recorded)
