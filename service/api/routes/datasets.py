"""Data sets of one's own: upload, read, list, delete."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from http import HTTPStatus
from pathlib import PurePath
from typing import Annotated, Any, BinaryIO, Literal, cast

from fastapi import APIRouter, Path, Query, Request, Response
from pydantic import BaseModel, Field
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException

from service.api.http.answers import UNREADABLE
from service.api.http.bodies import BodyLimits, bounded
from service.api.http.encoding import json_response
from service.api.http.openapi import Responses, links, located, problems
from service.api.http.paging import cursor_of, position_of
from service.api.http.tenancy import own
from service.contract.errors import BadUpload, TooManyUploads
from service.store.datasets import Dataset, Datasets
from service.uploads.intake import BY_SUFFIX, CSV, MEDIA_TYPES, Intake
from service.uploads.table import Task

IN_MEMORY = 2**20  # bytes of an upload before it goes to a temporary file
NO_NUL = r"^[^\x00]*$"
MULTIPART = "multipart/form-data"
BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {kind: {"schema": {"type": "string", "format": "binary"}} for kind in MEDIA_TYPES}
        | {
            CSV: {"schema": {"type": "string"}, "example": "width,height,kind\n1,2,a\n2,1,b\n3,2,a\n1,3,b\n"},
            MULTIPART: {
                "schema": {
                    "type": "object",
                    "properties": {"file": {"type": "string", "format": "binary"}},
                    "required": ["file"],
                    "additionalProperties": False,
                },
                "encoding": {"file": {"contentType": ", ".join(MEDIA_TYPES)}},
            },
        },
    }
}


class DatasetAnswer(BaseModel):
    """An uploaded data set."""

    id: str
    name: str | None
    rows: int
    columns: int = Field(description="Numbers a row, the label apart.")
    column_names: tuple[str, ...] | None = Field(description="Null where the file names none.")
    shape: tuple[int, ...] = Field(description="Of a row.")
    label: str
    task: Literal["classification", "regression"]
    classes: tuple[str, ...] | None = Field(description="Class 0 first; null for regression.")
    rows_a_class: tuple[int, ...] | None
    bytes: int
    created_at: datetime
    links: dict[str, str]

    @classmethod
    def of(cls, dataset: Dataset) -> "DatasetAnswer":
        """The answer for a data set."""
        described = dataset.description
        shape = described.shape
        return cls(
            id=dataset.id,
            name=described.name,
            rows=shape.samples,
            columns=shape.columns,
            column_names=described.columns,
            shape=shape.input_shape,
            label=described.label,
            task="regression" if shape.classes is None else "classification",
            classes=shape.class_names,
            rows_a_class=described.rows_a_class,
            bytes=dataset.bytes,
            created_at=dataset.created_at,
            links={"self": f"/v1/datasets/{dataset.id}"},
        )


class DatasetPage(BaseModel):
    """Some data sets, newest first."""

    datasets: list[DatasetAnswer]
    unreadable: int = Field(description=UNREADABLE)
    next_cursor: str | None = Field(description="`cursor` of the next page; null on the last.")


UPLOADED: Responses = {
    201: {
        "headers": located("data set"),
        "links": links("dataset_id", "data_sets.read", "data_sets.delete")
        | {
            "train_on_it": {
                "operationId": "experiments.submit",
                "requestBody": {
                    "model": "baseline",
                    "data": {"source": "upload", "dataset_id": "{$response.body#/id}"},
                },
            }
        },
    }
}


def router(datasets: Datasets, intake: Intake, files: BodyLimits, most_uploads: int) -> APIRouter:
    """`/v1/datasets`."""
    routes = APIRouter(prefix="/v1/datasets", tags=["data sets"])
    stored, use_case = own(datasets), own(intake)
    uploads = 0

    @contextmanager
    def admitted() -> Iterator[None]:
        """Temporary files may be in memory, and numbers are: not as many at once as there are connections."""
        nonlocal uploads
        if uploads >= most_uploads:
            raise TooManyUploads(f"{most_uploads} files are being uploaded already")
        uploads += 1
        try:
            yield
        finally:
            uploads -= 1

    @routes.post(
        "",
        status_code=HTTPStatus.CREATED,
        response_model=DatasetAnswer,
        openapi_extra=BODY,
        responses=UPLOADED | problems(400, 408, 413, 415, 422),
    )
    async def upload(
        request: Request,
        intake: Annotated[Intake, use_case],
        name: Annotated[str | None, Query(max_length=120, pattern=NO_NUL)] = None,
        label: Annotated[str | None, Query(max_length=200, description="Column of the labels; the last.")] = None,
        task: Annotated[Task, Query(description="What the labels are, where their values do not say.")] = "auto",
    ) -> Response:
        """Keep a data set: a CSV file with a header, an NPZ of `x` and `y`, or a Parquet file."""
        request = bounded(request, files)
        media_type = _media_type(request.headers.get("content-type"))
        with admitted(), tempfile.SpooledTemporaryFile(IN_MEMORY) as file:
            if media_type == MULTIPART:
                media_type = await _from_form(request, file)
            elif media_type in MEDIA_TYPES:
                async for part in request.stream():
                    file.write(part)
            else:
                raise _unsupported(media_type)
            file.seek(0)
            kept = await run_in_threadpool(intake.take, cast("BinaryIO", file), media_type, name, label, task)
        answer = DatasetAnswer.of(kept)
        return json_response(answer, HTTPStatus.CREATED, Location=answer.links["self"])

    @routes.get("", response_model=DatasetPage, responses=problems(400, 422))
    def list_datasets(
        datasets: Annotated[Datasets, stored],
        limit: Annotated[int, Query(ge=1, le=200)] = 50,
        cursor: Annotated[str | None, Query(max_length=100)] = None,
    ) -> Response:
        """Data sets, newest first."""
        page = datasets.page(limit, position_of(cursor))
        return json_response(
            DatasetPage(
                datasets=[DatasetAnswer.of(dataset) for dataset in page.records],
                unreadable=page.unreadable,
                next_cursor=cursor_of(page.next_before),
            )
        )

    @routes.get("/{dataset_id}", response_model=DatasetAnswer, responses=problems(404))
    def read(dataset_id: Annotated[str, Path()], datasets: Annotated[Datasets, stored]) -> Response:
        """What is known of a data set."""
        return json_response(DatasetAnswer.of(datasets.get(dataset_id)))

    @routes.delete("/{dataset_id}", status_code=HTTPStatus.NO_CONTENT, responses=problems(404, 409))
    def delete(dataset_id: str, datasets: Annotated[Datasets, stored]) -> None:
        """Forget a data set; not while an experiment that has not ended uses it."""
        datasets.delete(dataset_id)

    return routes


def _media_type(declared: str | None) -> str:
    return (declared or "").partition(";")[0].strip().lower()


def _unsupported(media_type: str) -> HTTPException:
    got = media_type or "a body without a type"
    return HTTPException(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, f"send {', '.join(MEDIA_TYPES)} or {MULTIPART}, not {got}")


async def _from_form(request: Request, file: Any) -> str:
    """Copy the form's `file`; its media type, by its own word or its name's ending."""
    async with request.form(max_files=1, max_fields=10) as form:
        part = form.get("file")
        if not isinstance(part, UploadFile):
            raise BadUpload("the form has no file named `file`")
        if others := form.keys() - {"file"}:
            words = ", ".join(sorted(ascii(other[:60]) for other in others))
            raise BadUpload(f"the form has fields that are not read: {words}; name, label and task go into the query")
        media_type = _media_type(part.content_type)
        if media_type not in MEDIA_TYPES:
            media_type = BY_SUFFIX.get(PurePath(part.filename or "").suffix.lower(), media_type)
        if media_type not in MEDIA_TYPES:
            raise _unsupported(media_type)
        while block := await part.read(IN_MEMORY):
            file.write(block)
    return media_type
