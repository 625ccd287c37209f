"""Bodies of a bounded size, also where no length is declared; and routes that read JSON only."""

from collections.abc import Callable, Coroutine
from http import HTTPStatus
from typing import Annotated, Any

from fastapi import Header, Request, Response
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException
from starlette.types import Message

IdempotencyKey = Annotated[
    str | None,
    Header(
        min_length=1,
        max_length=255,
        pattern=r"^[\x21-\x7e]+$",
        description="A name for this request, by which it is known for a day: sent again, it gives what it has made.",
    ),
]


def json_route(max_bytes: int) -> type[APIRoute]:
    """A route class that answers 415 to a body of another type and 413 to one of more than `max_bytes`."""

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
                return await handler(bounded(request, max_bytes))

            return checked

    return JsonRoute


def bounded(request: Request, max_bytes: int) -> Request:
    """The request, whose body ends in 413 after `max_bytes`."""
    received = 0

    async def receive() -> Message:
        nonlocal received
        message = await request.receive()
        received += len(message.get("body", b""))
        if received > max_bytes:
            raise HTTPException(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"the body is larger than {max_bytes:,} bytes")
        return message

    return Request(request.scope, receive)
