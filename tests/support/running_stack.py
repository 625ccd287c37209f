"""A real `gradflow up` in a process of its own."""

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import httpx2

READY_WITHIN_S = 120  # importing TensorFlow on a shared machine


def free_port() -> int:
    """A port of the loopback interface that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class RunningStack:
    """The stack on a directory; may be started again after it ended."""

    def __init__(self, data_dir: Path, workers: int) -> None:
        self.data_dir = data_dir
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._workers = workers
        self.process: subprocess.Popen[str]

    def start(self) -> None:
        """Start it without waiting."""
        command = [sys.executable, "-m", "gradflow.cli", "up", "--port", str(self.port)]
        command += ["--data-dir", str(self.data_dir), "--workers", str(self._workers)]
        self.process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True
        )

    def wait_until_ready(self) -> None:
        """Until a training process has imported TensorFlow."""
        deadline = time.monotonic() + READY_WITHIN_S
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                raise AssertionError(f"the stack ended: {self.process.communicate()[0]}")
            try:
                if httpx2.get(f"{self.url}/readyz").status_code == 200:
                    return
            except httpx2.TransportError:
                pass
            time.sleep(0.2)
        raise AssertionError("the stack did not become ready")

    def end(self, number: int = signal.SIGTERM) -> tuple[int, str, float]:
        """Send a signal; exit status, what was printed, and the seconds that the end took."""
        began = time.monotonic()
        self.process.send_signal(number)
        output, _ = self.process.communicate(timeout=60)
        return self.process.returncode, output, time.monotonic() - began

    def children(self) -> dict[int, str]:
        """Process ids and command lines of the stack's children and theirs (Linux)."""
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


def alive(pid: int) -> bool:
    """Whether a process still runs; a zombie does not."""
    try:
        os.kill(pid, 0)
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (ProcessLookupError, FileNotFoundError):
        return False
