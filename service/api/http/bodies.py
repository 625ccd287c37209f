"""Bodies of a bounded size that come in time, also where no length is declared; and routes that read JSON only."""

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from http import HTTPStatus
from typing import Annotated, Any

from fastapi import Header, Request, Response
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException
from starlette.types import Message

from service.api.http.json_text import read_json

IdempotencyKey = Annotated[
    str | None,
    Header(
        min_length=1,
        max_length=255,
        pattern=r"^[\x21-\x7e]+$",
        description="A name for this request, by which it is known for a day: sent again, it gives what it has made.",
    ),
]


DIGITS_OF_A_LENGTH = 18  # of a Content-Length that is worth reading as a number


@dataclass(frozen=True)
class BodyLimits:
    """What a body may be; beyond it 413 or 408."""

    most_bytes: int
    idle_s: float  # without a byte, before the whole of it is there


def json_route(limits: BodyLimits) -> type[APIRoute]:
    """A route class that answers 415 to a body of another type, and refuses what is not strictly JSON."""

    class JsonRoute(APIRoute):
        def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
            handler = super().get_route_handler()
            if self.body_field is None:
                return handler

            async def checked(request: Request) -> Response:
                declared = request.headers.get("content-type")
                if (declared or "").partition(";")[0].strip().lower() != "application/json":
                    got = declared or "a body without a type"
                    raise HTTPException(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, f"send application/json, not {got}")
                body = await bounded(request, limits).body()
                return await handler(_ReadRequest(request, body))

            return checked

    return JsonRoute


def bounded(request: Request, limits: BodyLimits) -> Request:
    """The request, whose body ends in 413 once it is too large and in 408 once it comes no more; 415 if packed."""
    coding = request.headers.get("content-encoding", "identity").strip().lower()
    if coding != "identity":
        raise HTTPException(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, f"send the body as it is, not in {coding}")
    declared = request.headers.get("content-length", "")
    if declared.isdecimal() and (len(declared) > DIGITS_OF_A_LENGTH or int(declared) > limits.most_bytes):
        raise _too_large(limits)
    received = 0

    async def receive() -> Message:
        nonlocal received
        try:
            async with asyncio.timeout(limits.idle_s):
                message = await request.receive()
        except TimeoutError as error:
            why = f"{limits.idle_s:g} seconds went by without a byte of the body"
            raise HTTPException(HTTPStatus.REQUEST_TIMEOUT, why, {"Connection": "close"}) from error
        received += len(message.get("body", b""))
        if received > limits.most_bytes:
            raise _too_large(limits)
        return message

    return Request(request.scope, receive)


class _ReadRequest(Request):
    """A request whose body is there, and JSON if it is not empty."""

    def __init__(self, request: Request, body: bytes) -> None:
        super().__init__(request.scope, request.receive)
        self._whole = body
        self._value = read_json(body) if body else None

    async def body(self) -> bytes:
        return self._whole

    async def json(self) -> Any:
        return self._value


def _too_large(limits: BodyLimits) -> HTTPException:
    # The rest is not read, so that the connection is of no more use.
    why = f"the body is larger than {limits.most_bytes:,} bytes"
    return HTTPException(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, why, {"Connection": "close"})
