"""Which connection is closed when there are too many, and when a client takes too long."""

import asyncio
import contextlib
import logging
import resource
import time
from collections.abc import Awaitable, Callable

import pytest
from fastapi import FastAPI, Request

from service.api.connections import Connections, connections_within_descriptors
from service.api.serving import server
from service.api.settings import ApiSettings
from tests.support.clock import Clock

GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
POST = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\n"


class Connection:
    """Records that it was closed."""

    closed = False

    def close_now(self) -> None:
        self.closed = True


def added(to: Connections, count: int) -> list[Connection]:
    """Add this number of new connections."""
    new = [Connection() for _ in range(count)]
    for connection in new:
        to.add(connection)
    return new


def test_above_the_limit_the_oldest_idle_connection_is_closed() -> None:
    limited = Connections(3)
    first, second, third = added(limited, 3)
    limited.set_answered(first)
    limited.set_idle(first)  # idle again, after the others

    added(limited, 2)

    assert (first.closed, second.closed, third.closed) == (False, True, True)
    assert len(limited) == 3


def test_a_further_byte_of_slow_headers_does_not_make_a_connection_younger() -> None:
    limited = Connections(2)
    slow, other = added(limited, 2)
    limited.set_idle(slow)

    added(limited, 1)

    assert (slow.closed, other.closed) == (True, False)


def test_a_flood_of_slow_bodies_displaces_itself_and_not_the_newcomer() -> None:
    limited = Connections(3)
    slow = added(limited, 3)
    for connection in slow:
        limited.set_receiving(connection)

    newcomers = added(limited, 1)

    assert [connection.closed for connection in slow + newcomers] == [True, False, False, False]


def test_a_flood_of_silent_connections_leaves_uploads_alone() -> None:
    limited = Connections(4)
    upload, *silent = added(limited, 4)
    limited.set_receiving(upload)

    added(limited, 3)

    assert not upload.closed
    assert all(connection.closed for connection in silent)


def test_a_connection_that_is_being_answered_is_never_closed() -> None:
    limited = Connections(2)
    streams = added(limited, 2)
    for connection in streams:
        limited.set_answered(connection)

    [refused] = added(limited, 1)

    assert refused.closed
    assert not any(connection.closed for connection in streams)


def test_a_connection_that_was_closed_is_not_counted_again() -> None:
    limited = Connections(1)
    [closed, _] = added(limited, 2)

    limited.set_idle(closed)
    limited.set_answered(closed)

    assert len(limited) == 1


def test_the_log_has_one_line_a_minute_with_the_number_of_closed_connections(caplog: pytest.LogCaptureFixture) -> None:
    clock = Clock()
    limited = Connections(2, clock)
    with caplog.at_level(logging.WARNING):
        added(limited, 500)
        clock.advance(59)
        added(limited, 1)
        assert len(caplog.messages) == 1
        clock.advance(2)
        added(limited, 1)

    assert len(caplog.messages) == 2
    assert "GRADFLOW_API_CONNECTIONS" in caplog.messages[0]
    assert "closed 499 " in caplog.messages[1]


@pytest.mark.parametrize(
    ("descriptors", "wanted", "limit"),
    [(1024, 2000, 864), (256, 2000, 96), (20_000, 2000, 2000), (20, 2000, 16), (resource.RLIM_INFINITY, 2000, 2000)],
)
def test_the_limit_stays_below_that_of_open_files(
    monkeypatch: pytest.MonkeyPatch, descriptors: int, wanted: int, limit: int
) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _: (descriptors, descriptors))

    assert connections_within_descriptors(wanted) == limit


def with_server(check: Callable[[int], Awaitable[None]], headers_s: float) -> None:
    """Run a check against a real server, which gets its port."""
    app = FastAPI()

    @app.get("/")
    @app.post("/")
    async def root(request: Request) -> int:
        return len(await request.body())

    async def run() -> None:
        running = server(app, ApiSettings(), 1, headers_s, host="127.0.0.1", port=0, log_level="error")
        serving = asyncio.create_task(running._serve())
        while not running.started:
            await asyncio.sleep(0.001)
        await check(running.servers[0].sockets[0].getsockname()[1])
        running.should_exit = True
        await serving

    asyncio.run(run())


@pytest.mark.parametrize("first", [b"", b"G", b"GET / HTTP/1.1\r\nX-Slow: "])
def test_headers_that_are_not_complete_in_time_end_the_connection_however_many_bytes_come(first: bytes) -> None:
    async def check(port: int) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(first)
        began = time.monotonic()

        async def drip() -> None:
            while first:
                writer.write(b"x")
                await asyncio.sleep(0.05)

        dripping = asyncio.create_task(drip())
        try:
            assert await reader.read() == b""
        except ConnectionResetError:
            pass
        finally:
            dripping.cancel()
        assert time.monotonic() - began >= 0.3
        writer.close()

    with_server(check, headers_s=0.3)


def test_the_time_limit_of_headers_holds_neither_for_bodies_nor_for_idle_connections() -> None:
    async def check(port: int) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for request, late in ((GET, b""), (POST, b"ab"), (GET, b"")):
            writer.write(request)
            if late:
                await asyncio.sleep(0.4)
                writer.write(late)
            head = await reader.readuntil(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 200")
            await reader.readexactly(1)
            await asyncio.sleep(0.4)
        writer.close()

    with_server(check, headers_s=0.2)


def test_the_headers_of_a_second_request_have_a_time_limit_too() -> None:
    async def check(port: int) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(GET)
        await reader.readuntil(b"\r\n\r\n0")
        writer.write(b"GET / HTT")
        with contextlib.suppress(ConnectionResetError):
            assert await asyncio.wait_for(reader.read(), 10) == b""
        writer.close()

    with_server(check, headers_s=0.2)
