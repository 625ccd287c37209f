"""Experiments: submit, read, list, cancel, delete."""

from datetime import datetime
from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Query, Request, Response
from pydantic import BaseModel, Field

from service.api.http.bodies import BodyLimits, IdempotencyKey, json_route
from service.api.http.encoding import json_response, with_etag
from service.api.http.openapi import (
    CONDITIONAL,
    ETAG,
    JSON_BODY_PROBLEMS,
    NOT_MODIFIED,
    Responses,
    links,
    located,
    problems,
)
from service.api.http.paging import DEFAULT_LIMIT, NEXT_CURSOR, UNREADABLE, Cursor, Limit, cursor_of, position_of
from service.api.http.tenancy import own
from service.application.submission import Submissions
from service.contract.model_spec import KerasModel
from service.contract.record import ExperimentRecord, Outcome, Progress, Status, Timing
from service.contract.spec import ExperimentSpec
from service.store.experiments import Experiments

PARTS = ("gradients", "metrics", "diagnosis", "cancel")


class Experiment(BaseModel):
    """The current state of an experiment."""

    id: str
    name: str | None
    tags: tuple[str, ...]
    status: Status
    progress: Progress
    spec: ExperimentSpec = Field(description="With every default; the same spec submitted again reproduces the run.")
    outcome: Outcome
    attempts: int
    error: str | None
    timing: Timing
    device: str | None
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    warnings: tuple[str, ...]
    study: str | None
    links: dict[str, str]

    @classmethod
    def of(cls, record: ExperimentRecord) -> "Experiment":
        """The answer for a record."""
        here = f"/v1/experiments/{record.id}"
        links = {"self": here} | {part: f"{here}/{part}" for part in PARTS}
        if not isinstance(record.spec.model, KerasModel):
            links["theory"] = f"{here}/theory"
        if record.study is not None:
            links["study"] = f"/v1/studies/{record.study}"
        if record.spec.recording.keep_model:
            links["model"] = f"{here}/model"
        same = {field: getattr(record, field) for field in ExperimentRecord.model_fields if field in cls.model_fields}
        # Without validation, because the record is valid.
        return cls.model_construct(name=record.spec.name, tags=record.spec.tags, links=links, **same)


class ExperimentPage(BaseModel):
    """Experiments, newest first."""

    experiments: list[Experiment]
    unreadable: int = Field(description=UNREADABLE)
    next_cursor: str | None = Field(description=NEXT_CURSOR)


FOLLOWING = links(
    "experiment_id",
    *("experiments.read", "experiments.cancel", "experiments.delete"),
    *("history.read_gradients", "history.read_metrics", "theory.read", "diagnosis.read"),
)
SUBMITTED: Responses = {202: {"headers": located("experiment"), "links": FOLLOWING}}
CANCELLED: Responses = {
    202: {"links": FOLLOWING},
    200: {"model": Experiment, "description": "The experiment had ended before."},
}


def router(store: Experiments, submissions: Submissions, bodies: BodyLimits) -> APIRouter:
    """`/v1/experiments`, `/v1/experiments/{id}` and its `cancel`."""
    routes = APIRouter(prefix="/v1/experiments", tags=["experiments"], route_class=json_route(bodies))
    stored, use_cases = own(store), own(submissions)

    @routes.post(
        "",
        status_code=HTTPStatus.ACCEPTED,
        response_model=Experiment,
        responses=SUBMITTED | problems(*JSON_BODY_PROBLEMS),
    )
    def submit(
        spec: ExperimentSpec, submissions: Annotated[Submissions, use_cases], idempotency_key: IdempotencyKey = None
    ) -> Response:
        """Queue an experiment; `Location` is its path."""
        experiment = Experiment.of(submissions.submit(spec, idempotency_key))
        return json_response(experiment, HTTPStatus.ACCEPTED, Location=experiment.links["self"])

    @routes.get("", response_model=ExperimentPage, responses=problems(400, 422))
    def list_experiments(
        store: Annotated[Experiments, stored],
        status: Status | None = None,
        tag: Annotated[str | None, Query(max_length=60)] = None,
        study: Annotated[str | None, Query(max_length=60, description="Only the experiments of this study.")] = None,
        limit: Limit = DEFAULT_LIMIT,
        cursor: Cursor = None,
    ) -> Response:
        """List experiments, newest first."""
        page = store.page(status=status, tag=tag, limit=limit, before=position_of(cursor), study=study)
        return json_response(
            ExperimentPage(
                experiments=[Experiment.of(record) for record in page.records],
                unreadable=page.unreadable,
                next_cursor=cursor_of(page.next_before),
            )
        )

    @routes.get(
        "/{experiment_id}",
        response_model=Experiment,
        responses={200: {"headers": ETAG}} | NOT_MODIFIED | problems(404),
        openapi_extra=CONDITIONAL,
    )
    def read(experiment_id: str, request: Request, store: Annotated[Experiments, stored]) -> Response:
        """Read the current state of an experiment."""
        return with_etag(request, json_response(Experiment.of(store.get(experiment_id))))

    @routes.post(
        "/{experiment_id}/cancel",
        status_code=HTTPStatus.ACCEPTED,
        response_model=Experiment,
        responses=CANCELLED | problems(404),
    )
    def cancel(experiment_id: str, submissions: Annotated[Submissions, use_cases]) -> Response:
        """Ask an experiment to stop after its current chunk of steps; 200 if it had ended before."""
        record, asked = submissions.cancel(experiment_id)
        return json_response(Experiment.of(record), HTTPStatus.ACCEPTED if asked else HTTPStatus.OK)

    @routes.delete("/{experiment_id}", status_code=HTTPStatus.NO_CONTENT, responses=problems(404, 409))
    def delete(experiment_id: str, store: Annotated[Experiments, stored]) -> None:
        """Delete an experiment and its history; 409 while it runs."""
        store.open(experiment_id).delete()

    return routes
