"""An experiment as it happens: server-sent events, as browsers and `curl -N` read them."""

import json
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from http import HTTPStatus
from typing import Annotated, Any

import anyio
from anyio.to_thread import run_sync
from fastapi import APIRouter, Header, Request, Response
from fastapi.responses import StreamingResponse
from fastapi.sse import EventSourceResponse, format_sse_event
from starlette.types import Receive, Scope, Send

from service.api.http.openapi import problems
from service.api.http.tenancy import own
from service.application.plans import Plans
from service.application.progress_events import Event, State, events_since
from service.contract.errors import NotFound, StoreUnavailable, TooManyReaders
from service.contract.record import ExperimentRecord
from service.store.experiments import Experiments

LOOK_EVERY_S = 0.5
WORD_EVERY_S = 15.0  # a comment, where nothing happens: what stands between would close a silent connection
EVENT = {  # each one of the stream
    "type": "object",
    "properties": {
        "event": {"type": "string", "enum": ["progress", "gradients", "status"]},
        "data": {"type": "string", "contentMediaType": "application/json"},
        "id": {"type": "string", "description": "To resume from, as `Last-Event-ID`."},
    },
    "required": ["event", "data"],
}
ANSWERS: dict[int | str, dict[str, Any]] = {
    200: {
        "content": {"text/event-stream": {"schema": EVENT}},
        "description": "Events `progress`, `gradients` and `status`.",
    },
    204: {"description": "It has ended, and you have seen how: do not come back."},
}


def router(store: Experiments, plans: Plans, most_readers: int) -> APIRouter:
    """`events` of an experiment."""
    routes = APIRouter(prefix="/v1/experiments/{experiment_id}", tags=["experiments"])
    looking = anyio.CapacityLimiter(4)  # threads: readers share these and leave all others to requests
    stored, places = own(store), _Places(most_readers)

    def look(store: Experiments, experiment_id: str, before: State | None) -> tuple[ExperimentRecord, list[Event]]:
        record = store.get(experiment_id)
        return record, list(events_since(store, plans, record, before))

    async def stream(
        store: Experiments, experiment_id: str, before: State | None, is_still_allowed: Callable[[], Awaitable[bool]]
    ) -> AsyncIterator[bytes]:
        spoke_at = time.monotonic()
        while True:
            try:
                if not await is_still_allowed():
                    return
                record, found = await run_sync(look, store, experiment_id, before, limiter=looking)
            except StoreUnavailable:  # it may be back soon, and the reader is told by the silence
                await anyio.sleep(LOOK_EVERY_S)
                continue
            except NotFound:
                return
            for number, event in enumerate(found, 1):
                before = State.of(record)
                spoke_at = time.monotonic()
                # Only the last carries the id: who has seen but some of these sees all of them again.
                seen = before.text if number == len(found) else None
                yield format_sse_event(event=event.name, data_str=json.dumps(event.data), id=seen)
            if record.status.ended:
                return
            if time.monotonic() - spoke_at > WORD_EVERY_S:
                spoke_at = time.monotonic()
                yield format_sse_event(comment="still there")
            await anyio.sleep(LOOK_EVERY_S)

    @routes.get("/events", responses=ANSWERS | problems(404, 422), response_class=StreamingResponse)
    def events(
        experiment_id: str,
        request: Request,
        store: Annotated[Experiments, stored],
        last_event_id: Annotated[str | None, Header(max_length=100)] = None,
    ) -> Response:
        """What happens to an experiment, until it has ended; with `Last-Event-ID`, what has happened since."""
        before, record = State.read(last_event_id), store.get(experiment_id)
        if record.status.ended and before == State.of(record):
            return Response(status_code=HTTPStatus.NO_CONTENT)
        events = stream(store, experiment_id, before, request.state.is_still_allowed)
        return _Stream(events, places)

    return routes


class _Places:
    """For so many readers at a time."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._taken = 0
        self._lock = threading.Lock()

    def take(self) -> None:
        """One of them, to be given back.

        Raises:
            TooManyReaders: there is none.
        """
        with self._lock:
            if self._taken >= self._most:
                raise TooManyReaders(f"{self._most} readers of events are connected already")
            self._taken += 1

    def give_back(self) -> None:
        """One that was taken."""
        with self._lock:
            self._taken -= 1


class _Stream(EventSourceResponse):
    """Has a reader's place from now until it was sent, or could not be."""

    def __init__(self, events: AsyncIterator[bytes], places: _Places) -> None:
        places.take()
        self._places = places
        super().__init__(events, headers={"Cache-Control": "no-store"})

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it."""
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._places.give_back()
