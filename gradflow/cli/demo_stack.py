"""The stack that the demo trains on: a running one, or one that ends with the demo."""

import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

from rich.console import Console

from gradflow.client import Client

HOST = "127.0.0.1"
START_TIMEOUT_S = 180
STOP_TIMEOUT_S = 15
POLL_EVERY_S = 0.2


class StackNotReady(Exception):
    """The stack does not start or does not become ready in time; the message says why."""


@contextmanager
def running_stack(port: int, data_dir: Path, console: Console) -> Iterator[Client]:
    """A client of the stack at the port; if there is none, start one and stop it at the end.

    Args:
        port: port of the stack; another one is chosen if a different program listens there.
        data_dir: data directory of a stack that is started.
        console: where progress is printed.

    Raises:
        StackNotReady: see there.
    """
    with Client(f"http://{HOST}:{port}") as client:
        if client.trainers() is not None:
            console.print(f"gradflow is already running at {client.url} and is used for the demo")
            _wait_until_ready(client, None, console)
            yield client
            return
    if not _is_free(port):
        console.print(f"port {port} is taken by another program; choosing a free one")
        port = _free_port()
    command = [sys.executable, "-m", "gradflow.cli", "up", "--port", str(port), "--data-dir", str(data_dir)]
    # Ctrl-C does not reach a process in a session of its own; `finally` stops it, also if the demo is terminated.
    before = signal.signal(signal.SIGTERM, _exit)
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True
    )
    try:
        with Client(f"http://{HOST}:{port}") as client:
            _wait_until_ready(client, process, console)
            console.print(f"gradflow is running at {client.url}")
            yield client
        restart = f"gradflow up --port {port} --data-dir {data_dir}"
        console.print(f"the experiments are kept; to read them again, run: {restart}", soft_wrap=True)
    finally:
        process.terminate()
        try:
            process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            process.kill()
        signal.signal(signal.SIGTERM, before)


def _exit(_number: int, _frame: object) -> NoReturn:
    raise SystemExit(128 + signal.SIGTERM)


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # the stack sets it too
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
        return True


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port: int = probe.getsockname()[1]
        return port


def _wait_until_ready(client: Client, process: "subprocess.Popen[str] | None", console: Console) -> None:
    deadline = time.monotonic() + START_TIMEOUT_S
    with console.status("waiting for gradflow: its trainers import TensorFlow, which takes about ten seconds …"):
        while not client.ready():
            if process is not None and process.poll() is not None:
                raise StackNotReady(f"gradflow does not start: {process.communicate()[0].strip()}")
            if time.monotonic() > deadline:
                raise StackNotReady(
                    f"gradflow was not ready within {START_TIMEOUT_S} s; see worker.log in its data directory"
                )
            time.sleep(POLL_EVERY_S)
