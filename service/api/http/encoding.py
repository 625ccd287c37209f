"""JSON answers: NaN and infinity as null, arrays in pieces, entity tags."""

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from itertools import chain
from typing import Any

import numpy as np
import numpy.typing as npt
import orjson
from fastapi import Request, Response
from fastapi.responses import StreamingResponse
from pydantic_core import to_json

Numbers = npt.NDArray[Any]

NUMBERS_PER_CALL = 2**15  # encoded in about a millisecond, during which no other thread runs
BYTES_PER_PIECE = 2**18  # of a streamed body


def json_response(body: object, status: int = 200, **headers: str) -> Response:
    """A JSON response: a model, a dataclass or a mapping; NaN and infinity are null."""
    return Response(to_json(body, inf_nan_mode="null"), status, headers, "application/json")


def with_etag(request: Request, response: Response) -> Response:
    """The response with a strong ETag, or 304 if the client has this version."""
    etag = f'"{hashlib.sha256(response.body).hexdigest()[:32]}"'
    if _is_known(request, etag):
        return Response(status_code=304, headers={"ETag": etag})
    response.headers["ETag"] = etag
    return response


def json_of_arrays(request: Request, body: Mapping[str, object]) -> Response:
    """A JSON object, some of whose values are arrays, with a strong ETag; 304 if the client has this version.

    The text is never in memory as a whole. A float32 is written with the digits of the equal float64.
    """
    etag = _etag_of_arrays(body)
    if _is_known(request, etag):
        return Response(status_code=304, headers={"ETag": etag})
    return streamed(_json(body), "application/json", ETag=etag)


def streamed(pieces: Iterable[bytes], media_type: str, **headers: str) -> Response:
    """A body that is sent in pieces; a short one is sent whole, with its length.

    An error within the first BYTES_PER_PIECE bytes is raised here and becomes a problem. A later one ends the
    connection.
    """
    body = _joined(pieces)
    begin, more = next(body, b""), next(body, None)
    if more is None:
        return Response(begin, headers=headers, media_type=media_type)
    return StreamingResponse(chain([begin, more], body), headers=headers, media_type=media_type)


def json_rows(rows: Numbers) -> bytes:
    """An array of one or two dimensions as a JSON array."""
    if rows.dtype.kind == "f":
        with np.errstate(invalid="ignore"):  # signaling NaN
            # For float32, orjson would write only the digits that distinguish the value from other float32 values.
            rows = rows.astype(np.float64)
    return orjson.dumps(np.ascontiguousarray(rows), option=orjson.OPT_SERIALIZE_NUMPY)


def _is_known(request: Request, etag: str) -> bool:
    known = [tag.strip().removeprefix("W/") for tag in request.headers.get("if-none-match", "").split(",")]
    return etag in known or "*" in known


def _etag_of_arrays(body: Mapping[str, object]) -> str:
    """A hash of the numbers instead of their text, which has five times as many bytes."""
    digest = hashlib.sha256(orjson.__version__.encode())  # another version may write other digits
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
    for first in range(0, len(row), NUMBERS_PER_CALL):
        yield before
        yield json_rows(row[first : first + NUMBERS_PER_CALL])[1:-1]
        before = b","
    yield b"]" if len(row) else b"[]"


def _joined(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """Join small pieces to pieces of at least BYTES_PER_PIECE."""
    waiting: list[bytes] = []
    size = 0
    for piece in pieces:
        waiting.append(piece)
        size += len(piece)
        if size >= BYTES_PER_PIECE:
            yield b"".join(waiting)
            waiting.clear()
            size = 0
    if waiting:
        yield b"".join(waiting)
