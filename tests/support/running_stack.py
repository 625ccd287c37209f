"""A real `gradflow up` in a process of its own."""

import os
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Collection, Mapping
from pathlib import Path

import httpx2

READY_WITHIN_S = 120  # importing TensorFlow on a shared machine


def free_port() -> int:
    """A port of the loopback interface on which nothing listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class RunningStack:
    """The stack on a data directory; it may be started again after it ended.

    `options` are further options of the command, `environment` replaces variables of this process.
    """

    def __init__(
        self, data_dir: Path, workers: int = 1, *options: str, environment: Mapping[str, str] | None = None
    ) -> None:
        self.data_dir = data_dir
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._workers = workers
        self._options = options
        self._environment = os.environ | dict(environment or {})
        self.process: subprocess.Popen[str]

    def start(self) -> None:
        """Start it without waiting."""
        command = [sys.executable, "-m", "gradflow.cli", "up", "--port", str(self.port)]
        command += ["--data-dir", str(self.data_dir), "--workers", str(self._workers), *self._options]
        self.process = subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
            env=self._environment,
            umask=0,  # the stack's files must be private even so
        )

    def wait_until_ready(self) -> None:
        """Wait until a training process has imported TensorFlow."""
        self._wait(lambda: httpx2.get(f"{self.url}/readyz").status_code == 200)

    def wait_until_answering(self) -> None:
        """Wait until the API answers."""
        self._wait(lambda: httpx2.get(f"{self.url}/livez").status_code == 200)

    def _wait(self, holds: Callable[[], bool]) -> None:
        deadline = time.monotonic() + READY_WITHIN_S
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                raise AssertionError(f"the stack ended: {self.process.communicate()[0]}")
            try:
                if holds():
                    return
            except httpx2.TransportError:
                pass
            time.sleep(0.1)
        raise AssertionError("the stack did not become ready")

    def refusal(self) -> str:
        """Start it and return what it printed; it must end by itself, with status 1 and without a traceback."""
        self.start()
        try:
            output, _ = self.process.communicate(timeout=60)
        except subprocess.TimeoutExpired:
            self.end()
            raise AssertionError("the stack started") from None
        assert self.process.returncode == 1, output
        assert "Traceback" not in output
        return output

    def end(self, number: int = signal.SIGTERM) -> tuple[int, str, float]:
        """Send a signal; return the exit status, the output, and the seconds that the end took."""
        began = time.monotonic()
        self.process.send_signal(number)
        output, _ = self.process.communicate(timeout=60)
        return self.process.returncode, output, time.monotonic() - began

    def children(self) -> dict[int, str]:
        """Process ids and command lines of the descendants of the stack (Linux)."""
        parents: dict[int, int] = {}
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit():
                try:
                    parents[int(entry.name)] = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
                except (FileNotFoundError, ProcessLookupError):
                    continue
        found: dict[int, str] = {}
        front = {self.process.pid}
        while front:
            front = {child for child, parent in parents.items() if parent in front}
            for pid in front:
                try:
                    found[pid] = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()
                except FileNotFoundError:
                    continue
        return found

    def child(self, part: str) -> int:
        """Process id of the first descendant whose command line contains this text."""
        return next(pid for pid, command in self.children().items() if part in command)


def until_ended(pids: Collection[int], within_s: float) -> None:
    """Wait until none of these processes, which need not be children, runs any more (Linux)."""
    deadline = time.monotonic() + within_s
    for pid in pids:
        try:
            process = os.pidfd_open(pid)
        except ProcessLookupError:
            continue
        try:
            ended, _, _ = select.select([process], [], [], max(0.0, deadline - time.monotonic()))
        finally:
            os.close(process)
        assert ended, f"process {pid} still runs"


def alive(pid: int) -> bool:
    """Whether a process still runs; a zombie does not."""
    try:
        os.kill(pid, 0)
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (ProcessLookupError, FileNotFoundError):
        return False
