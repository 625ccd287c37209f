"""The processes of a stack, each of which can be killed, stopped and started again."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import httpx2
import redis

from tests.chaos.server import server_command

READY_WITHIN_S = 180.0


def free_port() -> int:
    """Return a port of the loopback interface on which nothing listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def until(holds: Callable[[], bool], what: str, within_s: float = READY_WITHIN_S) -> float:
    """Wait until `holds` returns true; return the seconds that it took."""
    began = time.monotonic()
    while not holds():
        if time.monotonic() - began > within_s:
            raise TimeoutError(f"{what}: not within {within_s:.0f} s")
        time.sleep(0.02)
    return time.monotonic() - began


class Part:
    """A process of a stack, with its own log."""

    def __init__(self, name: str, command: list[str], log: Path, environment: Mapping[str, str]) -> None:
        self.name = name
        self.log = log
        self._command = command
        self._environment = {**os.environ, **environment}
        self.process: subprocess.Popen[bytes]

    def start(self) -> None:
        """Start it without waiting."""
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                self._command, env=self._environment, stdout=log, stderr=subprocess.STDOUT, start_new_session=True
            )

    def signal(self, number: int) -> None:
        """Send a signal to the process."""
        self.process.send_signal(number)

    def kill(self) -> None:
        """Kill the process."""
        self.process.kill()
        self.process.wait()

    def kill_group(self) -> None:
        """Kill the process and all its children."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def end(self) -> float:
        """Terminate the process, and kill it after a minute; return the seconds that it took."""
        began = time.monotonic()
        self.process.terminate()
        try:
            self.process.wait(60)
        except subprocess.TimeoutExpired:
            self.kill_group()
        return time.monotonic() - began

    def children(self) -> list[int]:
        """Return the process ids of the children."""
        found = []
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit():
                try:
                    parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
                except (FileNotFoundError, ProcessLookupError):
                    continue
                if parent == self.process.pid:
                    found.append(int(entry.name))
        return found


class Stack:
    """A server, an API and a worker; `through` maps the server's port to the port that the other two connect to."""

    def __init__(
        self,
        directory: Path,
        *,
        trainers: int = 1,
        settings: Mapping[str, str] | None = None,
        worker_settings: Mapping[str, str] | None = None,
        through: Callable[[int], int] = lambda port: port,
    ) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self.directory = directory
        self.server_port, api_port = free_port(), free_port()
        self.url = f"http://127.0.0.1:{api_port}"
        environment = {"GRADFLOW_REDIS_URL": f"redis://127.0.0.1:{through(self.server_port)}/0", **(settings or {})}
        self.server = Part("server", server_command(self.server_port, directory), directory / "server.log", {})
        api = ["uvicorn", "--factory", "service.api.composition:app_from_environment", "--port", str(api_port)]
        api += ["--no-access-log"]
        self.api = Part("api", [sys.executable, "-m", *api], directory / "api.log", environment)
        worker = ["celery", "--app", "worker.app", "--quiet", "worker", "--loglevel", "INFO"]
        worker += ["--without-mingle", "--without-gossip"]
        programs = {"GRADFLOW_TRAINERS": str(trainers), "GRADFLOW_PROGRAM_CACHE": str(directory / "programs")}
        self.worker = Part(
            "worker",
            [sys.executable, "-m", *worker],
            directory / "worker.log",
            environment | programs | dict(worker_settings or {}),
        )

    def start(self) -> None:
        """Start all processes and wait until a trainer is ready."""
        self.server.start()
        self.until_server_answers()
        for part in (self.api, self.worker):
            part.start()
        self.until_ready()

    def stop(self) -> None:
        """End all processes."""
        for part in (self.worker, self.api, self.server):
            if part.process.poll() is None:
                part.end()

    def until_ready(self) -> float:
        """Wait for the API and a trainer; return the seconds that it took."""
        return until(lambda: self._status("/readyz") == 200, "a trainer")

    def until_api_answers(self) -> float:
        """Wait for the API; return the seconds that it took."""
        return until(lambda: self._status("/livez") == 200, "the API")

    def until_server_answers(self) -> float:
        """Wait for the server; return the seconds that it took."""
        client = self.client()

        def answers() -> bool:
            try:
                return bool(client.ping())
            except (redis.exceptions.ConnectionError, redis.exceptions.TimeoutError):
                return False

        return until(answers, "the server")

    def client(self) -> redis.Redis:
        """Return a client of the server that bypasses the proxy; only faults use it, never the oracle."""
        return redis.Redis(port=self.server_port, socket_timeout=5)

    def trainer_pids(self) -> list[int]:
        """Return the process ids of the trainers, ready or not."""
        return [pid for pid in self.worker.children() if "spawn_main" in _command_line(pid)]

    def _status(self, path: str) -> int:
        try:
            return httpx2.get(self.url + path, timeout=5).status_code
        except httpx2.TransportError:
            return 0


def _command_line(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()
    except FileNotFoundError:
        return ""
