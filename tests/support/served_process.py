"""`gradflow serve` as a process of its own."""

import os
import resource
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import httpx2

from service.store.settings import RedisSettings
from tests.support.running_stack import free_port

STARTS_WITHIN_S = 30


@dataclass(frozen=True)
class ServedProcess:
    """The address and the process id of a server."""

    url: str
    port: int
    pid: int


@contextmanager
def serving(
    settings: RedisSettings, *options: str, log: Path = Path(os.devnull), descriptors: int | None = None
) -> Iterator[ServedProcess]:
    """`gradflow serve` with these options, its standard error in `log`, and this limit of open files."""
    port = free_port()
    command = [sys.executable, "-m", "gradflow.cli", "serve", "--port", str(port), *options]
    environment = os.environ | {"GRADFLOW_REDIS_URL": settings.url}
    lower = partial(resource.setrlimit, resource.RLIMIT_NOFILE, (descriptors, descriptors)) if descriptors else None
    with (
        log.open("wb") as stderr,
        subprocess.Popen(command, env=environment, stderr=stderr, stdout=stderr, preexec_fn=lower) as process,
    ):
        try:
            url = f"http://127.0.0.1:{port}"
            deadline = time.monotonic() + STARTS_WITHIN_S
            while True:
                assert process.poll() is None, "the server has ended"
                try:
                    httpx2.get(f"{url}/livez")
                    break
                except httpx2.TransportError:
                    assert time.monotonic() < deadline
                    time.sleep(0.1)
            yield ServedProcess(url, port, process.pid)
        finally:
            process.terminate()
