"""A limit of connections, and of the time that a client may take to send its headers.

Uvicorn limits neither: its `limit_concurrency` counts a connection once the headers are complete, and its keep-alive
timeout starts with the first answer. Clients that connect and send nothing would use up the file descriptors.
"""

import asyncio
import logging
import resource
import time
from collections.abc import Callable
from typing import Any, Protocol

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

HEADERS_S = 10.0  # from the first byte of a request, or from the connection, until the headers are complete
REPORT_EVERY_S = 60.0
ACCEPTED_AT_ONCE = 16  # connections per pass of the event loop
ACCEPT_QUEUE = 2048  # connections that the kernel holds until they are accepted
# Redis connections of all threads, temporary files of uploads and logs; then the connections that four passes of the
# event loop accept before the first one of them is closed.
RESERVED_DESCRIPTORS = 96 + 4 * ACCEPTED_AT_ONCE
MIN_CONNECTIONS = 16

logger = logging.getLogger(__name__)


def connections_within_descriptors(wanted: int) -> int:
    """The number of connections, at most `wanted`, for which this process has file descriptors."""
    descriptors, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if descriptors == resource.RLIM_INFINITY:
        return wanted
    return max(MIN_CONNECTIONS, min(wanted, descriptors - RESERVED_DESCRIPTORS))


class Closable(Protocol):
    """A connection that can be closed at once."""

    def close_now(self) -> None:
        """Close it, whatever it is doing."""
        ...


class Connections:
    """The open connections of one server, by what they wait for.

    A connection is idle until the headers of a request are complete, receives until the body is complete, and is
    answered afterwards. Above the limit the server closes a connection that waits for its client: the oldest one of
    the larger group, idle or receiving. A flood of one kind therefore closes connections of its own kind. A connection
    that is being answered, such as a stream of events, is never closed.
    """

    def __init__(self, limit: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._limit = limit
        self._clock = clock
        self._idle: dict[Closable, None] = {}  # in the order in which they became idle
        self._receiving: dict[Closable, None] = {}
        self._answered: dict[Closable, None] = {}
        self._closed = 0  # since the last report
        self._reported_at = float("-inf")

    def __len__(self) -> int:
        return len(self._idle) + len(self._receiving) + len(self._answered)

    def add(self, connection: Closable) -> None:
        """Count a new connection, and close one if there are too many now."""
        self._idle[connection] = None
        if len(self) <= self._limit:
            return
        group = self._idle if len(self._idle) > len(self._receiving) else self._receiving
        longest = next(iter(group))
        self.discard(longest)
        longest.close_now()
        self._closed += 1
        self._report()

    def set_idle(self, connection: Closable) -> None:
        """The server waits for a request; no change if it already did."""
        self._move(connection, self._idle)

    def set_receiving(self, connection: Closable) -> None:
        """The server waits for the rest of a body; no change if it already did."""
        self._move(connection, self._receiving)

    def set_answered(self, connection: Closable) -> None:
        """The request is complete and the answer is not."""
        self._move(connection, self._answered)

    def discard(self, connection: Closable) -> None:
        """Forget a connection that is closed."""
        for group in (self._idle, self._receiving, self._answered):
            group.pop(connection, None)

    def _move(self, connection: Closable, to: dict[Closable, None]) -> None:
        if connection in to:
            return
        known = len(self)
        self.discard(connection)
        if len(self) < known:  # a connection that was closed for the limit is not added again
            to[connection] = None

    def _report(self) -> None:
        """Log once a minute at most: a line per connection would fill the disk."""
        now = self._clock()
        if now - self._reported_at < REPORT_EVERY_S:
            return
        logger.warning(
            "all %d connections are in use (GRADFLOW_API_CONNECTIONS, within the limit of open files): "
            "closed %d that waited for their client; further ones are reported once a minute",
            self._limit,
            self._closed,
        )
        self._reported_at, self._closed = now, 0


class LimitedProtocol(H11Protocol):
    """Uvicorn's HTTP/1.1 with the limits of this module."""

    def __init__(self, *arguments: Any, open_connections: Connections, headers_s: float, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._open = open_connections
        self._headers_s = headers_s
        self._headers_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Count the connection and wait for its first request."""
        super().connection_made(transport)
        self._start_headers_timer()
        self._open.add(self)

    def data_received(self, data: bytes) -> None:
        """Read what the client sends."""
        super().data_received(data)
        self._update()

    def on_response_complete(self) -> None:
        """Wait for the next request, or answer one that is here already."""
        super().on_response_complete()
        self._update()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the connection."""
        self._stop_headers_timer()
        self._open.discard(self)
        super().connection_lost(exc)

    def close_now(self) -> None:
        """Close the connection; nothing that waits to be sent is sent."""
        self.transport.abort()

    def _update(self) -> None:
        if self.transport.is_closing():
            return
        if self.cycle is None or self.cycle.response_complete:
            self._open.set_idle(self)
            if self.timeout_keep_alive_task is None:  # a request has begun, or never ended
                self._start_headers_timer()
            return
        self._stop_headers_timer()
        if self.cycle.more_body:
            self._open.set_receiving(self)
        else:
            self._open.set_answered(self)

    def _start_headers_timer(self) -> None:
        """Start it unless it runs: further bytes give no further time."""
        if self._headers_timer is None:
            self._headers_timer = self.loop.call_later(self._headers_s, self.close_now)

    def _stop_headers_timer(self) -> None:
        if self._headers_timer is not None:
            self._headers_timer.cancel()
            self._headers_timer = None


class LimitedServer(uvicorn.Server):
    """A server that accepts few connections at a time, so that it closes one before the next needs a descriptor.

    asyncio takes one number, the backlog, for both the connections that it accepts in one pass and the length of the
    kernel's queue; the queue is made longer again.
    """

    async def startup(self, sockets: Any = None) -> None:
        """Listen."""
        await super().startup(sockets)
        for server in self.servers:
            for listener in server.sockets:
                with listener.dup() as same:
                    same.listen(ACCEPT_QUEUE)
