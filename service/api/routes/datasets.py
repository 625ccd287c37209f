"""Data sets of the user: upload, read, list, delete."""

import tempfile
from datetime import datetime
from http import HTTPStatus
from pathlib import PurePath
from typing import Annotated, Any, BinaryIO, Literal, cast

from fastapi import APIRouter, Path, Query, Request, Response
from pydantic import BaseModel, Field
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import UploadFile

from service.api.http.bodies import BodyLimits, bounded, media_type_of, unsupported
from service.api.http.capacity import Capacity
from service.api.http.encoding import json_response
from service.api.http.openapi import Responses, links, located, problems
from service.api.http.paging import DEFAULT_LIMIT, NEXT_CURSOR, UNREADABLE, Cursor, Limit, cursor_of, position_of
from service.api.http.tenancy import own
from service.contract.errors import BadUpload, TooManyUploads
from service.contract.media_types import CSV
from service.store.datasets import Dataset, Datasets
from service.uploads.intake import BY_SUFFIX, MEDIA_TYPES, Intake
from service.uploads.table import Task

MAX_BYTES_IN_MEMORY = 2**20  # a larger upload is written to a temporary file
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
    columns: int = Field(description="Numbers per row, without the label.")
    column_names: tuple[str, ...] | None = Field(description="Null if the file has no names.")
    shape: tuple[int, ...] = Field(description="Shape of a row.")
    label: str
    task: Literal["classification", "regression"]
    classes: tuple[str, ...] | None = Field(description="Class 0 first; null for regression.")
    rows_a_class: tuple[int, ...] | None = Field(description="Rows per class; null for regression.")
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
    """Data sets, newest first."""

    datasets: list[DatasetAnswer]
    unreadable: int = Field(description=UNREADABLE)
    next_cursor: str | None = Field(description=NEXT_CURSOR)


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


def router(datasets: Datasets, intake: Intake, files: BodyLimits, max_uploads: int) -> APIRouter:
    """`/v1/datasets`. Each upload takes memory, so that only `max_uploads` are received and read at the same time."""
    routes = APIRouter(prefix="/v1/datasets", tags=["data sets"])
    stored, use_case = own(datasets), own(intake)
    uploads = Capacity(max_uploads, TooManyUploads, "{} files are being uploaded already")

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
        label: Annotated[
            str | None, Query(max_length=200, description="The column of the labels; by default the last.")
        ] = None,
        task: Annotated[
            Task, Query(description="What the labels are for; `auto` derives it from their values.")
        ] = "auto",
    ) -> Response:
        """Store a data set: a CSV file with a header, an NPZ file with `x` and `y`, or a Parquet file."""
        request = bounded(request, files)
        declared = request.headers.get("content-type")
        media_type = media_type_of(declared)
        with uploads.slot(), tempfile.SpooledTemporaryFile(MAX_BYTES_IN_MEMORY) as file:
            if media_type == MULTIPART:
                media_type = await _from_form(request, file)
            elif media_type in MEDIA_TYPES:
                async for part in request.stream():
                    file.write(part)
            else:
                raise unsupported(declared, *MEDIA_TYPES, MULTIPART)
            file.seek(0)
            kept = await run_in_threadpool(intake.take, cast("BinaryIO", file), media_type, name, label, task)
        answer = DatasetAnswer.of(kept)
        return json_response(answer, HTTPStatus.CREATED, Location=answer.links["self"])

    @routes.get("", response_model=DatasetPage, responses=problems(400, 422))
    def list_datasets(
        datasets: Annotated[Datasets, stored],
        limit: Limit = DEFAULT_LIMIT,
        cursor: Cursor = None,
    ) -> Response:
        """List data sets, newest first."""
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
        """Read the description of a data set."""
        return json_response(DatasetAnswer.of(datasets.get(dataset_id)))

    @routes.delete("/{dataset_id}", status_code=HTTPStatus.NO_CONTENT, responses=problems(404, 409))
    def delete(dataset_id: str, datasets: Annotated[Datasets, stored]) -> None:
        """Delete a data set; 409 while an experiment that has not ended uses it."""
        datasets.open(dataset_id).delete()

    return routes


async def _from_form(request: Request, file: Any) -> str:
    """Copy the `file` of a form; return its media type, from its header or its file name."""
    async with request.form(max_files=1, max_fields=10) as form:
        part = form.get("file")
        if not isinstance(part, UploadFile):
            raise BadUpload("the form has no file named `file`")
        if others := form.keys() - {"file"}:
            names = ", ".join(sorted(ascii(other[:60]) for other in others))
            raise BadUpload(f"unknown form fields: {names}; name, label and task are query parameters")
        media_type = media_type_of(part.content_type)
        if media_type not in MEDIA_TYPES:
            media_type = BY_SUFFIX.get(PurePath(part.filename or "").suffix.lower(), media_type)
        if media_type not in MEDIA_TYPES:
            raise unsupported(part.content_type, *MEDIA_TYPES)
        while block := await part.read(MAX_BYTES_IN_MEMORY):
            file.write(block)
    return media_type
