"""More connections than the server has file descriptors: it stays reachable, and its log stays short."""

import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path

import httpx2
import pytest
import redis

from service.store.settings import RedisSettings
from tests.support.served_api import submit
from tests.support.served_process import ServedProcess, serving

DESCRIPTORS = 256
CONNECTIONS = 300
HEADERS = b"GET /livez HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Slow: "
BODY = (
    b"POST /v1/experiments HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\nContent-Length: 99\r\n\r\n{"
)


@pytest.fixture
def server(client: redis.Redis, redis_settings: RedisSettings, tmp_path: Path) -> Iterator[ServedProcess]:  # noqa: ARG001
    """A server with few file descriptors; its log is the file `log`."""
    with serving(redis_settings, log=tmp_path / "log", descriptors=DESCRIPTORS) as process:
        yield process


@contextmanager
def connected(port: int, first: bytes) -> Iterator[list[socket.socket]]:
    """Connections that have sent these bytes and nothing else."""
    with ExitStack() as stack:
        opened = []
        for _ in range(CONNECTIONS):
            opened.append(stack.enter_context(socket.create_connection(("127.0.0.1", port), timeout=10)))
            if first:
                try:
                    opened[-1].sendall(first)
                except OSError:
                    continue  # the server has closed it already
        yield opened


def seconds_to_answer(url: str) -> float:
    """The time until a new client has its answer."""
    began = time.monotonic()
    assert httpx2.get(f"{url}/livez", timeout=10).status_code == 200
    return time.monotonic() - began


@pytest.mark.parametrize("first", [b"", HEADERS, BODY], ids=["silent", "slow headers", "slow bodies"])
def test_clients_that_keep_the_server_waiting_do_not_make_it_unreachable(
    server: ServedProcess, first: bytes, tmp_path: Path
) -> None:
    with ThreadPoolExecutor(1) as attacker:
        done = threading.Event()

        def attack() -> None:
            with connected(server.port, first) as opened:
                opening.set()
                while not done.wait(0.1):
                    for one in opened if first else ():
                        try:
                            one.sendall(b"x")
                        except OSError:
                            continue

        opening = threading.Event()
        attacking = attacker.submit(attack)
        slowest = 0.0
        asked = 0
        while not opening.is_set() or asked < 20:
            assert not attacking.done() or attacking.result() is None
            slowest = max(slowest, seconds_to_answer(server.url))
            asked += 1
        done.set()
        attacking.result()

    assert slowest < 1
    log = (tmp_path / "log").read_text()
    assert log.count("connections are in use") == 1
    assert "Too many open files" not in log
    assert len(log) < 20_000


def test_a_stream_of_events_survives_a_flood_of_silent_connections(server: ServedProcess) -> None:
    with httpx2.Client(base_url=server.url) as api:
        experiment_id = submit(api)
        with (
            api.stream("GET", f"/v1/experiments/{experiment_id}/events") as answer,
            connected(server.port, b""),
        ):
            lines = answer.iter_lines()
            assert next(lines) == "event: progress"
            assert httpx2.post(f"{server.url}/v1/experiments/{experiment_id}/cancel").status_code == 202
            assert any('"status": "cancelled"' in line for line in lines)


def test_event_streams_leave_connections_to_other_requests(server: ServedProcess) -> None:
    with httpx2.Client(base_url=server.url, limits=httpx2.Limits(max_connections=None)) as api, ExitStack() as stack:
        path = f"/v1/experiments/{submit(api)}/events"
        statuses = [stack.enter_context(api.stream("GET", path)).status_code for _ in range(DESCRIPTORS // 2)]

        assert {*statuses} == {200, 503}
        assert seconds_to_answer(server.url) < 1
