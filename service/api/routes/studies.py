"""Studies: submit, read, list, cancel, delete."""

import csv
import io
import json
from collections.abc import Sequence
from datetime import datetime
from http import HTTPStatus
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Request, Response
from pydantic import BaseModel, Field

from service.analysis.study_table import TableRow
from service.api.http.bodies import BodyLimits, IdempotencyKey, json_route
from service.api.http.encoding import json_response, with_etag
from service.api.http.openapi import (
    CONDITIONAL,
    ETAG_OF_JSON,
    JSON_BODY_PROBLEMS,
    NOT_MODIFIED,
    Responses,
    files,
    links,
    located,
    problems,
)
from service.api.http.paging import DEFAULT_LIMIT, NEXT_CURSOR, UNREADABLE, Cursor, Limit, cursor_of, position_of
from service.api.http.tenancy import own
from service.application.study_reading import StudyStatus, progress_of, rows
from service.application.study_submission import StudySubmissions
from service.contract.media_types import CSV
from service.contract.study_spec import SEEDS, StudySpec
from service.store.studies import Studies
from service.store.study_handle import Study, StudyHandle, Tally

MAX_STEPS = 16
STEPS_PATTERN = rf"^-?[0-9]{{1,12}}(,-?[0-9]{{1,12}}){{0,{MAX_STEPS - 1}}}$"
STEPS_DESCRIPTION = (
    "Optimizer steps at which slope and level are computed; −1 is the last recorded step, −2 the one before."
)
FIRST_AND_LAST = "0,-1"


class StudyProgress(BaseModel):
    """Optimizer steps of all experiments together."""

    step: int
    total_steps: int


class StudySummary(BaseModel):
    """A study without its table."""

    id: str
    name: str | None
    status: StudyStatus
    tags: tuple[str, ...]
    counts: dict[str, int] = Field(description="Experiments by status.")
    experiments: int = Field(description="Experiments in the grid.")
    unreadable: int = Field(description="Experiments whose records are damaged; `counts` does not include them.")
    progress: StudyProgress
    axes: dict[str, list[Any]]
    created_at: datetime
    links: dict[str, str]


class StudyAnswer(StudySummary):
    """The current state of a study."""

    base: dict[str, Any]
    warnings: tuple[str, ...] = Field(description="Warnings of its experiments, without repetition, at most 20.")
    table: list[TableRow]


class StudyPage(BaseModel):
    """Studies, newest first."""

    studies: list[StudySummary]
    unreadable: int = Field(description=UNREADABLE)
    next_cursor: str | None = Field(description=NEXT_CURSOR)


FOLLOWING = links("study_id", "studies.read", "studies.cancel", "studies.delete")
SUBMITTED: Responses = {202: {"headers": located("study"), "links": FOLLOWING}}
READ_ANSWERS: Responses = {200: {"content": files(CSV), "headers": ETAG_OF_JSON}}
CANCELLED: Responses = {
    202: {"links": FOLLOWING},
    200: {"model": StudyAnswer, "description": "All experiments had ended before."},
}


def router(studies: Studies, submissions: StudySubmissions, bodies: BodyLimits) -> APIRouter:
    """`/v1/studies`."""
    routes = APIRouter(prefix="/v1/studies", tags=["studies"], route_class=json_route(bodies))
    stored, use_cases = own(studies), own(submissions)

    def answer(handle: StudyHandle, steps: str = FIRST_AND_LAST) -> dict[str, Any]:
        study, runs = handle.study, handle.runs()
        found, _ = rows(handle, runs.runs, _steps(steps))
        return _summary(study, Tally.of(runs)) | {
            "base": study.spec.base,
            "warnings": study.warnings,
            "table": found,
        }

    @routes.post(
        "",
        status_code=HTTPStatus.ACCEPTED,
        response_model=StudyAnswer,
        responses=SUBMITTED | problems(*JSON_BODY_PROBLEMS),
    )
    def submit(
        spec: StudySpec, submissions: Annotated[StudySubmissions, use_cases], idempotency_key: IdempotencyKey = None
    ) -> Response:
        """Queue one experiment for every combination of the axes' values, or none at all."""
        study = submissions.submit(spec, idempotency_key)
        return json_response(answer(study), HTTPStatus.ACCEPTED, Location=f"/v1/studies/{study.id}")

    @routes.get("", response_model=StudyPage, responses=problems(400, 422))
    def list_studies(
        studies: Annotated[Studies, stored],
        limit: Limit = DEFAULT_LIMIT,
        cursor: Cursor = None,
    ) -> Response:
        """List studies, newest first."""
        page = studies.page(limit, position_of(cursor))
        summaries = [_summary(handle.study, handle.tally()) for handle in page.records]
        following = cursor_of(page.next_before)
        return json_response({"studies": summaries, "unreadable": page.unreadable, "next_cursor": following})

    @routes.get(
        "/{study_id}",
        response_model=StudyAnswer,
        responses=READ_ANSWERS | NOT_MODIFIED | problems(404, 422),
        openapi_extra=CONDITIONAL,
    )
    def read(
        study_id: str,
        request: Request,
        studies: Annotated[Studies, stored],
        steps: Annotated[
            str,
            Query(pattern=STEPS_PATTERN, description=STEPS_DESCRIPTION, examples=["0,100,-1"]),
        ] = FIRST_AND_LAST,
        format: Literal["json", "csv"] = "json",  # noqa: A002 - the name of the query parameter
    ) -> Response:
        """Read a study with a table of its metrics over the axes that are not seeds."""
        handle = studies.open(study_id)
        if format == "csv":
            found, names = rows(handle, handle.runs().runs, _steps(steps))
            return Response(_csv(handle.study, found, names), media_type=CSV)
        return with_etag(request, json_response(answer(handle, steps)))

    @routes.post(
        "/{study_id}/cancel",
        status_code=HTTPStatus.ACCEPTED,
        response_model=StudyAnswer,
        responses=CANCELLED | problems(404),
    )
    def cancel(
        study_id: str, studies: Annotated[Studies, stored], submissions: Annotated[StudySubmissions, use_cases]
    ) -> Response:
        """Cancel the queued experiments of a study and ask the running ones to stop; 200 if all had ended before."""
        asked = submissions.cancel(study_id)
        return json_response(answer(studies.open(study_id)), HTTPStatus.ACCEPTED if asked else HTTPStatus.OK)

    @routes.delete("/{study_id}", status_code=HTTPStatus.NO_CONTENT, responses=problems(404, 409))
    def delete(study_id: str, submissions: Annotated[StudySubmissions, use_cases]) -> None:
        """Delete a study and its experiments; 409 while one of them runs."""
        submissions.delete(study_id)

    return routes


def _summary(study: Study, tally: Tally) -> dict[str, Any]:
    progress = progress_of(study, tally)
    here = f"/v1/studies/{study.id}"
    return {
        "id": study.id,
        "name": study.spec.name,
        "tags": study.spec.tags,
        "status": progress.status,
        "counts": progress.counts,
        "experiments": study.spec.experiments,
        "unreadable": tally.unreadable,
        "progress": {"step": progress.step, "total_steps": progress.total_steps},
        "axes": study.spec.axes,
        "created_at": study.created_at,
        "links": {"self": here, "cancel": f"{here}/cancel", "experiments": f"/v1/experiments?study={study.id}"},
    }


def _steps(text: str) -> list[int]:
    """The steps of a list such as `0,100,-1`, without repetition."""
    return list(dict.fromkeys(map(int, text.split(","))))


def _csv(study: Study, found: Sequence[TableRow], names: Sequence[str]) -> str:
    """One column per axis that is not a seed, then three counts, then four columns per metric."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    axes = [path for path in study.spec.axes if path not in SEEDS]
    metric_columns = [f"{name}.{part}" for name in names for part in ("count", "mean", "std", "ci95")]
    writer.writerow([*axes, "replicates", "missing", "diverged", *metric_columns])
    for row in found:
        values = [value if isinstance(value, str) else json.dumps(value) for value in row.axes.values()]
        summaries = [row.metrics[name] for name in names]
        cells = [_cell(number) for s in summaries for number in (s.count, s.mean, s.std, s.ci95)]
        writer.writerow([*values, row.replicates, row.missing, row.diverged, *cells])
    return text.getvalue()


def _cell(number: float | None) -> str:
    return "" if number is None else repr(number)
