"""JSON answers: numbers, streaming and ETags."""

import asyncio
import json
import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from fastapi import Request, Response
from fastapi.responses import StreamingResponse
from pydantic_core import to_json

from service.analysis.stored_history import Floats
from service.api.http.encoding import (
    BYTES_PER_PIECE,
    NUMBERS_PER_CALL,
    json_of_arrays,
    json_response,
    streamed,
    with_etag,
)
from service.contract.errors import NotFound


def _whole(answer: Response) -> bytes:
    """The body, streamed or not."""
    if not isinstance(answer, StreamingResponse):
        return bytes(answer.body)

    async def pieces() -> list[bytes]:
        return [bytes(piece) async for piece in answer.body_iterator if isinstance(piece, bytes)]

    return b"".join(asyncio.run(pieces()))


def _json(**body: object) -> Any:
    return json.loads(_whole(json_of_arrays(_request(None), body)))


def test_nan_and_infinity_are_null_in_json() -> None:
    values = np.array([[1 / 3, 1e-30, 3.4e38], [math.nan, math.inf, -math.inf]], np.float32)

    body = _json(name="a", steps=np.array([4, 5, 6]), values=values, first=None, tags=["x"])

    assert list(body) == ["name", "steps", "values", "first", "tags"]
    assert body["values"] == [values[0].astype(float).tolist(), [None, None, None]]
    assert (body["name"], body["steps"], body["first"], body["tags"]) == ("a", [4, 5, 6], None, ["x"])


# Uniform bit patterns: few of the numbers that Hypothesis prefers need all nine digits.
ANY_BITS = np.random.default_rng(0).integers(0, 2**32, (2, 500), np.uint32).view(np.float32)
ANY_DOUBLES = np.random.default_rng(0).integers(0, 2**64, (2, 500), np.uint64).view(np.float64)


@pytest.mark.parametrize("values", [ANY_BITS, ANY_DOUBLES])
def test_a_client_reads_exactly_the_stored_float64_values(values: Floats) -> None:
    with np.errstate(invalid="ignore"):  # signaling NaN
        doubles = values.astype(np.float64)
    expected = [[x if math.isfinite(x) else None for x in row] for row in doubles.tolist()]

    assert _json(values=values)["values"] == expected
    assert json.loads(to_json(expected)) == expected  # the encoding of version 0.1


def test_the_memory_layout_of_an_array_does_not_change_its_json() -> None:
    rows = np.random.default_rng(1).random((3, 8)).astype(np.float32)  # as stored: [steps, variables]
    for values in (rows.T, rows.T[[0, 2, 5]], rows.T[::2], rows[:, ::-1].T, np.asfortranarray(rows)):
        answers = [_whole(json_of_arrays(_request(None), {"values": v})) for v in (values, values.copy(order="C"))]
        assert answers[0] == answers[1]
        assert json.loads(answers[0])["values"] == values.astype(np.float64).tolist()


@pytest.mark.parametrize("shape", [(0,), (0, 0), (0, 3), (3, 0), (1, 1), (2, 2 * NUMBERS_PER_CALL + 1)])
def test_arrays_of_any_shape_are_encoded(shape: tuple[int, ...]) -> None:
    values = np.arange(math.prod(shape)).reshape(shape)

    assert _json(values=values.astype(np.float64), steps=values) == {
        "values": values.tolist(),
        "steps": values.tolist(),
    }


def test_a_long_answer_is_streamed_and_a_short_one_has_its_length() -> None:
    short = json_of_arrays(_request(None), {"values": np.zeros(10)})
    long = json_of_arrays(_request(None), {"values": np.zeros(BYTES_PER_PIECE)})

    assert int(short.headers["content-length"]) == len(short.body)
    assert isinstance(long, StreamingResponse)
    assert "content-length" not in long.headers
    assert json.loads(_whole(long)) == {"values": [0.0] * BYTES_PER_PIECE}


def test_an_early_error_of_a_stream_is_raised_before_the_answer_begins() -> None:
    def pieces(good: int) -> Iterator[bytes]:
        for _ in range(good):
            yield b"x" * BYTES_PER_PIECE
        raise NotFound("gone")

    for good in (0, 1):
        with pytest.raises(NotFound):
            streamed(pieces(good), "text/plain")
    answer = streamed(pieces(2), "text/plain")
    with pytest.raises(NotFound):
        _whole(answer)


@pytest.mark.parametrize(
    "other",
    [
        {"values": np.zeros((2, 3), np.float32), "steps": np.arange(3), "name": "b"},
        {"values": np.zeros((3, 2), np.float32), "steps": np.arange(3), "name": "a"},
        {"values": np.zeros((2, 3), np.float64), "steps": np.arange(3), "name": "a"},
        {"values": np.full((2, 3), np.nan, np.float32), "steps": np.arange(3), "name": "a"},
        {"values": np.zeros((2, 3), np.float32), "steps": np.arange(1, 4), "name": "a"},
        {"values": np.zeros((2, 3), np.float32), "steps": np.arange(3), "names": "a"},
        {"steps": np.arange(3), "values": np.zeros((2, 3), np.float32), "name": "a"},
    ],
)
def test_the_etag_of_arrays_is_strong_and_differs_for_every_other_body(other: dict[str, object]) -> None:
    body = {"values": np.zeros((2, 3), np.float32), "steps": np.arange(3), "name": "a"}

    etag = json_of_arrays(_request(None), body).headers["etag"]

    assert etag.startswith('"')
    assert json_of_arrays(_request(None), body).headers["etag"] == etag
    again = json_of_arrays(_request(etag), body)
    assert (again.status_code, again.headers["etag"], again.body) == (304, etag, b"")
    assert json_of_arrays(_request(etag), other).status_code == 200


def _request(if_none_match: str | None) -> Request:
    headers = [] if if_none_match is None else [(b"if-none-match", if_none_match.encode())]
    return Request({"type": "http", "headers": headers})


ETAG = str(with_etag(_request(None), json_response({"a": 1})).headers["etag"])


def test_an_etag_is_strong_and_depends_on_the_body() -> None:
    assert ETAG.startswith('"')
    assert ETAG.endswith('"')
    assert with_etag(_request(None), json_response({"a": 1})).headers["etag"] == ETAG
    assert with_etag(_request(None), json_response({"a": 2})).headers["etag"] != ETAG


@pytest.mark.parametrize("known", [ETAG, f"W/{ETAG}", f'"other", {ETAG}', f'{ETAG},"other"', "*"])
def test_a_client_with_the_current_version_gets_304_with_the_etag_and_no_body(known: str) -> None:
    answer = with_etag(_request(known), json_response({"a": 1}))

    assert (answer.status_code, answer.headers["etag"], answer.body) == (304, ETAG, b"")


@pytest.mark.parametrize("known", [None, "", '"other"', ETAG.strip('"')])
def test_a_client_with_another_version_gets_the_body(known: str | None) -> None:
    answer = with_etag(_request(known), json_response({"a": 1}))

    assert (answer.status_code, answer.body) == (200, b'{"a":1}')
