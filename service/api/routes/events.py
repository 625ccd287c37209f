"""Server-sent events of an experiment, as browsers and `curl -N` read them."""

import json
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

from service.api.http.capacity import Capacity
from service.api.http.openapi import problems
from service.api.http.tenancy import own
from service.application.plans import Plans
from service.application.progress_events import Event, State, events_since
from service.contract.errors import DamagedRecord, NotFound, StoreUnavailable, TooManyReaders
from service.contract.record import ExperimentRecord
from service.store.experiments import Experiments

POLL_EVERY_S = 0.5
KEEP_ALIVE_S = 15.0  # an SSE comment, so that proxies do not close an idle stream
POLLING_THREADS = 4  # shared by all readers, so that other requests keep the remaining threads
EVENT = {
    "type": "object",
    "properties": {
        "event": {"type": "string", "enum": ["progress", "gradients", "status"]},
        "data": {"type": "string", "contentMediaType": "application/json"},
        "id": {"type": "string", "description": "Send it as `Last-Event-ID` to resume after this event."},
    },
    "required": ["event", "data"],
}
ANSWERS: dict[int | str, dict[str, Any]] = {
    200: {
        "content": {"text/event-stream": {"schema": EVENT}},
        "description": "Events `progress`, `gradients` and `status`.",
    },
    204: {"description": "The experiment has ended and the client has seen its last event; do not connect again."},
}


def router(store: Experiments, plans: Plans, max_readers: int) -> APIRouter:
    """`events` of an experiment."""
    routes = APIRouter(prefix="/v1/experiments/{experiment_id}", tags=["experiments"])
    polling = anyio.CapacityLimiter(POLLING_THREADS)
    stored = own(store)
    readers = Capacity(max_readers, TooManyReaders, "{} readers of events are connected already")

    def poll(store: Experiments, experiment_id: str, before: State | None) -> tuple[ExperimentRecord, list[Event]]:
        experiment = store.open(experiment_id)
        return experiment.record, list(events_since(experiment, plans, before))

    async def stream(
        store: Experiments, experiment_id: str, before: State | None, is_still_allowed: Callable[[], Awaitable[bool]]
    ) -> AsyncIterator[bytes]:
        sent_at = time.monotonic()
        while True:
            try:
                if not await is_still_allowed():
                    return
                record, found = await run_sync(poll, store, experiment_id, before, limiter=polling)
            except StoreUnavailable:  # Redis may answer again soon
                await anyio.sleep(POLL_EVERY_S)
                continue
            except (NotFound, DamagedRecord):
                return
            for number, event in enumerate(found, 1):
                before = State.of(record)
                sent_at = time.monotonic()
                # Only the last event has the id: a client that has received some of them receives all of them again.
                last_id = before.text if number == len(found) else None
                yield format_sse_event(event=event.name, data_str=json.dumps(event.data), id=last_id)
            if record.status.ended:
                return
            if time.monotonic() - sent_at > KEEP_ALIVE_S:
                sent_at = time.monotonic()
                yield format_sse_event(comment="keep-alive")
            await anyio.sleep(POLL_EVERY_S)

    @routes.get("/events", responses=ANSWERS | problems(404, 422), response_class=StreamingResponse)
    def events(
        experiment_id: str,
        request: Request,
        store: Annotated[Experiments, stored],
        last_event_id: Annotated[str | None, Header(max_length=100)] = None,
    ) -> Response:
        """Stream what happens to an experiment until it ends; with `Last-Event-ID`, what the client has missed."""
        before, record = State.read(last_event_id), store.get(experiment_id)
        if record.status.ended and before == State.of(record):
            return Response(status_code=HTTPStatus.NO_CONTENT)
        return _Stream(stream(store, experiment_id, before, request.state.is_still_allowed), readers)

    return routes


class _Stream(EventSourceResponse):
    """Takes a reader's slot when it is created and gives it back when the connection ends."""

    def __init__(self, events: AsyncIterator[bytes], readers: Capacity) -> None:
        readers.take()
        self._readers = readers
        super().__init__(events, headers={"Cache-Control": "no-store"})

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the events."""
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._readers.give_back()
