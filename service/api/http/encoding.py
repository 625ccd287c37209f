"""Answers as JSON, where NaN and infinity are null on purpose, and what all answers have in common."""

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from itertools import chain
from typing import Any

import numpy as np
import numpy.typing as npt
import orjson
from fastapi import Request, Response
from fastapi.responses import StreamingResponse
from pydantic import BaseModel
from pydantic_core import to_json

Numbers = npt.NDArray[Any]

NUMBERS_AT_ONCE = 2**15  # written by one call, which no other thread interrupts: a millisecond
BYTES_AT_ONCE = 2**18  # of a stream


def json_response(body: BaseModel | Mapping[str, object], status: int = 200, **headers: str) -> Response:
    """JSON; NaN and infinity as null."""
    return Response(to_json(body, inf_nan_mode="null"), status, headers, "application/json")


def with_etag(request: Request, response: Response) -> Response:
    """The same with a strong ETag, or 304 where the client has it already."""
    etag = f'"{hashlib.sha256(response.body).hexdigest()[:32]}"'
    if _has(request, etag):
        return Response(status_code=304, headers={"ETag": etag})
    response.headers["ETag"] = etag
    return response


def json_of_arrays(request: Request, body: Mapping[str, object]) -> Response:
    """A JSON object of which some values are arrays, with a strong ETag, or 304 where the client has it already.

    It is never in memory as a whole. A float32 is written as the double that it is.
    """
    etag = _etag(body)
    if _has(request, etag):
        return Response(status_code=304, headers={"ETag": etag})
    return streamed(_json(body), "application/json", ETag=etag)


def streamed(pieces: Iterable[bytes], media_type: str, **headers: str) -> Response:
    """Pieces of a body as they come; in one, and with its length, where they are few.

    What is raised before the first BYTES_AT_ONCE is answered as a problem; after that the connection ends early.
    """
    body = _at_once(pieces)
    begin, more = next(body, b""), next(body, None)
    if more is None:
        return Response(begin, headers=headers, media_type=media_type)
    return StreamingResponse(chain([begin, more], body), headers=headers, media_type=media_type)


def json_rows(rows: Numbers) -> bytes:
    """Rows of numbers as JSON."""
    if rows.dtype.kind == "f":
        with np.errstate(invalid="ignore"):  # of a NaN that signals
            rows = rows.astype(np.float64)  # else the fewest digits would be written that tell two float32 apart
    return orjson.dumps(np.ascontiguousarray(rows), option=orjson.OPT_SERIALIZE_NUMPY)


def _has(request: Request, etag: str) -> bool:
    known = [tag.strip().removeprefix("W/") for tag in request.headers.get("if-none-match", "").split(",")]
    return etag in known or "*" in known


def _etag(body: Mapping[str, object]) -> str:
    """Of the numbers and not of their digits, which are five times as many bytes."""
    digest = hashlib.sha256(orjson.__version__.encode())  # it writes the digits
    for name, part in body.items():
        if isinstance(part, np.ndarray):
            digest.update(f"{name}{part.dtype.str}{part.shape}".encode())
            digest.update(np.ascontiguousarray(part).reshape(-1).view(np.uint8).data)
        else:
            text = to_json(part, inf_nan_mode="null")
            digest.update(f"{name}{len(text)} ".encode())
            digest.update(text)
    return f'"{digest.hexdigest()[:32]}"'


def _json(body: Mapping[str, object]) -> Iterator[bytes]:
    opening = b"{"
    for name, part in body.items():
        yield opening + orjson.dumps(name) + b":"
        opening = b","
        if not isinstance(part, np.ndarray):
            yield to_json(part, inf_nan_mode="null")
        elif part.ndim == 1:
            yield from _json_row(part)
        else:
            before = b"["
            for row in part:
                yield before
                yield from _json_row(row)
                before = b","
            yield b"]" if len(part) else b"[]"
    yield b"}"


def _json_row(row: Numbers) -> Iterator[bytes]:
    before = b"["
    for first in range(0, len(row), NUMBERS_AT_ONCE):
        yield before
        yield json_rows(row[first : first + NUMBERS_AT_ONCE])[1:-1]
        before = b","
    yield b"]" if len(row) else b"[]"


def _at_once(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """The pieces put together to larger ones."""
    waiting: list[bytes] = []
    size = 0
    for piece in pieces:
        waiting.append(piece)
        size += len(piece)
        if size >= BYTES_AT_ONCE:
            yield b"".join(waiting)
            waiting.clear()
            size = 0
    if waiting:
        yield b"".join(waiting)
