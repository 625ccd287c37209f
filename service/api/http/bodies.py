"""Request bodies: limits on their size and on the time between two parts, and routes that accept JSON only."""

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from http import HTTPStatus
from typing import Annotated, Any

from fastapi import Header, Request, Response
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException
from starlette.types import Message

from service.contract.strict_json import read_json

IdempotencyKey = Annotated[
    str | None,
    Header(
        min_length=1,
        max_length=255,
        pattern=r"^[\x21-\x7e]+$",
        description="A name that the client gives to this request. Retries with the same key within 24 h return the "
        "original result.",
    ),
]

JSON = "application/json"
MAX_LENGTH_DIGITS = 18  # of a Content-Length; a longer one is too large without being parsed


@dataclass(frozen=True)
class BodyLimits:
    """Limits of a body; the request gets 413 or 408 beyond them."""

    max_bytes: int
    idle_s: float  # seconds without a byte while the body is incomplete


def json_route(limits: BodyLimits) -> type[APIRoute]:
    """A route class that answers 415 to a body of another type than JSON, and 422 to one that is not strict JSON."""

    class JsonRoute(APIRoute):
        def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
            handler = super().get_route_handler()
            if self.body_field is None:
                return handler

            async def checked(request: Request) -> Response:
                if media_type_of(request.headers.get("content-type")) != JSON:
                    raise unsupported(request.headers.get("content-type"), JSON)
                body = await bounded(request, limits).body()
                return await handler(_ReadRequest(request, body))

            return checked

    return JsonRoute


def media_type_of(content_type: str | None) -> str:
    """The media type in a Content-Type header, without its parameters, in lower case."""
    return (content_type or "").partition(";")[0].strip().lower()


def unsupported(content_type: str | None, *supported: str) -> HTTPException:
    """The 415 of a body with this content type."""
    *others, last = supported
    choice = f"{', '.join(others)} or {last}" if others else last
    got = content_type or "a body without a content type"
    return HTTPException(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, f"send {choice}, not {got}")


def bounded(request: Request, limits: BodyLimits) -> Request:
    """The same request with limits on its body.

    Reading the body raises 413 once it is too large and 408 once no byte has come for `idle_s` seconds.

    Raises:
        HTTPException: 413 if the declared length is too large, 415 if the body is compressed.
    """
    coding = request.headers.get("content-encoding", "identity").strip().lower()
    if coding != "identity":
        raise HTTPException(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, f"send the body without content encoding, not {coding}")
    declared = request.headers.get("content-length", "")
    if declared.isdecimal() and (len(declared) > MAX_LENGTH_DIGITS or int(declared) > limits.max_bytes):
        raise _too_large(limits)
    received = 0

    async def receive() -> Message:
        nonlocal received
        try:
            async with asyncio.timeout(limits.idle_s):
                message = await request.receive()
        except TimeoutError as error:
            why = f"no byte of the body came for {limits.idle_s:g} seconds"
            raise HTTPException(HTTPStatus.REQUEST_TIMEOUT, why, {"Connection": "close"}) from error
        received += len(message.get("body", b""))
        if received > limits.max_bytes:
            raise _too_large(limits)
        return message

    return Request(request.scope, receive)


class _ReadRequest(Request):
    """A request whose body has been read and parsed; an empty body is None."""

    def __init__(self, request: Request, body: bytes) -> None:
        super().__init__(request.scope, request.receive)
        self._whole = body
        self._value = read_json(body) if body else None

    async def body(self) -> bytes:
        return self._whole

    async def json(self) -> Any:
        return self._value


def _too_large(limits: BodyLimits) -> HTTPException:
    # The rest of the body is not read, so the connection cannot be used again.
    why = f"the body is larger than {limits.max_bytes:,} bytes"
    return HTTPException(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, why, {"Connection": "close"})
