"""Processes identified by id and start time, because the id of a process that has ended is used again."""

import contextlib
import json
import os
import signal
import socket
import struct
import subprocess
import time
from dataclasses import asdict, dataclass
from pathlib import Path

POLL_S = 0.02


@dataclass(frozen=True)
class Process:
    """A process by its id and the time at which it started."""

    pid: int
    started: str

    @classmethod
    def running(cls, pid: int) -> "Process | None":
        """The process that has this id now; None if there is none, or if it has ended and waits for its parent."""
        started = _start_time(pid)
        return None if started is None else cls(pid, started)

    @property
    def is_running(self) -> bool:
        """Whether it has not ended."""
        return Process.running(self.pid) == self

    def end(self, within_s: float) -> bool:
        """Ask the process to end, even if it is suspended, and kill it after `within_s`; whether it has ended."""
        for signals in ((signal.SIGTERM, signal.SIGCONT), (signal.SIGKILL,)):
            for number in signals:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(self.pid, number)
            deadline = time.monotonic() + within_s
            while self.is_running and time.monotonic() < deadline:
                time.sleep(POLL_S)
            if not self.is_running:
                return True
        return False


def write(path: Path, process: Process) -> None:
    """Remember a process in a file."""
    path.write_text(json.dumps(asdict(process)))


def read(path: Path) -> Process | None:
    """The remembered process if it still runs."""
    try:
        process = Process(**json.loads(path.read_text()))
    except (OSError, ValueError, TypeError):
        return None
    return process if process.is_running else None


def is_listened_on(path: Path) -> bool:
    """Whether a process listens on a Unix socket, even if it does not accept the connection."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
        client.settimeout(1.0)
        try:
            client.connect(os.fsencode(path))
        except TimeoutError:  # its queue of connections is full
            return True
        except OSError:
            return False
    return True


def listener_of(path: Path) -> Process | None:
    """The process that listens on a Unix socket, even if it does not answer; None if none listens or it is unknown."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
        client.settimeout(1.0)
        try:
            client.connect(os.fsencode(path))
            peer = getattr(socket, "SO_PEERCRED", None)
            if peer is None:  # macOS has none
                return None
            pid, *_ = struct.unpack("3i", client.getsockopt(socket.SOL_SOCKET, peer, struct.calcsize("3i")))
        except OSError:
            return None
    return Process.running(pid)


def _start_time(pid: int) -> str | None:
    """When the process with this id started; with the boot on Linux, where it is counted from there."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except (FileNotFoundError, ProcessLookupError):
        if Path("/proc/self/stat").exists():
            return None
        command = ["/bin/ps", "-o", "stat=,lstart=", "-p", str(pid)]  # macOS has no /proc
        found = subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()
        return None if not found or found.startswith("Z") else found.partition(" ")[2].strip()
    return None if fields[0] == "Z" else f"{boot} {fields[19]}"
