"""Experiments: submit, read, list, cancel, delete."""

from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Query, Request, Response

from service.api.http.answers import Experiment, ExperimentPage
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
from service.api.http.paging import cursor_of, position_of
from service.api.http.tenancy import own
from service.application.submission import Submissions
from service.contract.record import Status
from service.contract.spec import ExperimentSpec
from service.store.experiments import Experiments

FOLLOWING = links(
    "experiment_id",
    *("experiments.read", "experiments.cancel", "experiments.delete"),
    *("history.read_gradients", "history.read_metrics", "theory.read", "diagnosis.read"),
)
SUBMITTED: Responses = {202: {"headers": located("experiment"), "links": FOLLOWING}}
CANCELLED: Responses = {202: {"links": FOLLOWING}, 200: {"model": Experiment, "description": "It had ended already."}}


def router(store: Experiments, submissions: Submissions, bodies: BodyLimits) -> APIRouter:
    """`/v1/experiments` and what stands directly below it."""
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
        """Queue an experiment; `Location` says where to watch it."""
        experiment = Experiment.of(submissions.submit(spec, idempotency_key))
        return json_response(experiment, HTTPStatus.ACCEPTED, Location=experiment.links["self"])

    @routes.get("", response_model=ExperimentPage, responses=problems(400, 422))
    def list_experiments(
        store: Annotated[Experiments, stored],
        status: Status | None = None,
        tag: Annotated[str | None, Query(max_length=60)] = None,
        study: Annotated[str | None, Query(max_length=60, description="Only those of this study.")] = None,
        limit: Annotated[int, Query(ge=1, le=200)] = 50,
        cursor: Annotated[str | None, Query(max_length=100)] = None,
    ) -> Response:
        """Experiments, newest first."""
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
        """An experiment as it stands."""
        return with_etag(request, json_response(Experiment.of(store.get(experiment_id))))

    @routes.post(
        "/{experiment_id}/cancel",
        status_code=HTTPStatus.ACCEPTED,
        response_model=Experiment,
        responses=CANCELLED | problems(404),
    )
    def cancel(experiment_id: str, submissions: Annotated[Submissions, use_cases]) -> Response:
        """Ask a run to end at its next chunk of steps; 200 if it had ended already."""
        record, asked = submissions.cancel(experiment_id)
        return json_response(Experiment.of(record), HTTPStatus.ACCEPTED if asked else HTTPStatus.OK)

    @routes.delete("/{experiment_id}", status_code=HTTPStatus.NO_CONTENT, responses=problems(404, 409))
    def delete(experiment_id: str, store: Annotated[Experiments, stored]) -> None:
        """Forget an experiment and its history; not while it runs."""
        store.delete(experiment_id)

    return routes
