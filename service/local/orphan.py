"""Ends the server that a killed stack left running: two servers must never share one append-only file."""

import contextlib
import os
import time
from pathlib import Path

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from service.local import processes
from service.local.data_directory import DataDirectory, access_fault, shown
from service.local.errors import StackError
from service.local.processes import Process

STOP_S = 10.0  # it writes a snapshot first
ANSWER_S = 1.0
POLL_S = 0.05


def end_orphan(directory: DataDirectory) -> None:
    """End the server that a killed stack left on this directory, even if it is suspended; never another process.

    Version 0.1.0 wrote no record of its server, and its socket could have another path.

    Raises:
        StackError: the server does not end, or another process listens on its socket.
    """
    remembered = processes.read(directory.server_process)
    if remembered is not None:
        _end(remembered)
    sockets = [directory.socket]
    if access_fault(directory.old_socket.parent) is None:
        sockets.append(directory.old_socket)
    for path in sockets:
        _end_listener(path, directory.server)
    directory.server_process.unlink(missing_ok=True)


def _end_listener(path: Path, directory: Path) -> None:
    """End the server that listens on this socket."""
    if not processes.is_listened_on(path):
        return
    listener = processes.listener_of(path)
    if listener is None:
        _shut_down(path, directory)
    elif _works_in(listener, directory):
        _end(listener)
    else:
        raise _foreign(f"process {listener.pid}", path)


def _end(orphan: Process) -> None:
    if not orphan.end(STOP_S):
        raise _does_not_end(f"process {orphan.pid}")


def _shut_down(path: Path, directory: Path) -> None:
    """End the server by a command, because the system does not tell which process listens on the socket."""
    once = Retry(NoBackoff(), 0)
    with redis.Redis(unix_socket_path=os.fsdecode(path), socket_timeout=ANSWER_S, retry=once) as client:
        try:
            ours = Path(client.config_get("dir")["dir"]).samefile(directory)
        except (redis.exceptions.RedisError, KeyError, OSError):
            ours = False
        if not ours:
            raise _foreign("a process", path)
        with contextlib.suppress(redis.exceptions.RedisError):
            client.shutdown()
    deadline = time.monotonic() + STOP_S
    while processes.is_listened_on(path):
        if time.monotonic() > deadline:
            raise _does_not_end(shown(path))
        time.sleep(POLL_S)


def _works_in(process: Process, directory: Path) -> bool:
    """Whether this is the working directory of the process, as of a server whose data it contains."""
    try:
        return Path(f"/proc/{process.pid}/cwd").samefile(directory)
    except OSError:
        return False


def _foreign(process: str, path: Path) -> StackError:
    return StackError(
        f"{process}, which this stack has not started, listens on {shown(path)}: end it, or choose another directory "
        "with --data-dir"
    )


def _does_not_end(orphan: str) -> StackError:
    return StackError(f"the server that an earlier stack left running ({orphan}) does not end")
