"""A supervised process is started again when it ends, and ends with its supervisor."""

import os
import queue
import signal
import subprocess
import sys
import threading

import pytest

from service.local.supervisor import Backoff, Supervisor

IDLE = [sys.executable, "-c", "import sys; print(flush=True); sys.stdin.read()"]
IGNORE_SIGTERM = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN)"
DEAF = [sys.executable, "-c", f"{IGNORE_SIGTERM}; {IDLE[-1]}"]
SOON_S = 10.0


class Starts:
    """Starts processes and remembers them; the first ones may fail."""

    def __init__(self, command: list[str], failures: int = 0) -> None:
        self._command = command
        self._failures = failures
        self.attempts = 0
        self.processes: queue.SimpleQueue[subprocess.Popen[bytes]] = queue.SimpleQueue()

    def __call__(self) -> "subprocess.Popen[bytes]":
        self.attempts += 1
        if self.attempts <= self._failures:
            raise OSError("no space left")
        process = subprocess.Popen(self._command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True)
        assert process.stdout is not None
        process.stdout.readline()
        self.processes.put(process)
        return process

    def next(self) -> "subprocess.Popen[bytes]":
        return self.processes.get(timeout=SOON_S)


@pytest.fixture
def backoff() -> Backoff:
    """No pauses."""
    return Backoff(0.0, max_s=0.0)


def closed(process: "subprocess.Popen[bytes]") -> int | None:
    for pipe in (process.stdin, process.stdout):
        assert pipe is not None
        pipe.close()
    return process.returncode


def test_a_process_that_ends_is_started_again(backoff: Backoff) -> None:
    start = Starts(IDLE)
    supervisor = Supervisor("thing", start, backoff)
    supervisor.run()
    first = start.next()

    os.kill(first.pid, signal.SIGKILL)
    second = start.next()
    supervisor.stop(SOON_S)

    assert closed(first) == -signal.SIGKILL
    assert closed(second) == -signal.SIGTERM


def test_a_process_that_runs_already_is_supervised_too(backoff: Backoff) -> None:
    start = Starts(IDLE)
    first = start()
    supervisor = Supervisor("thing", start, backoff)
    supervisor.run(first)
    assert start.next() is first

    first.kill()
    second = start.next()
    supervisor.stop(SOON_S)

    closed(first)
    assert closed(second) == -signal.SIGTERM


def test_a_start_that_fails_is_repeated(backoff: Backoff) -> None:
    start = Starts(IDLE, failures=3)
    supervisor = Supervisor("thing", start, backoff)
    supervisor.run()

    process = start.next()
    supervisor.stop(SOON_S)

    assert start.attempts == 4
    closed(process)


def test_a_process_that_does_not_end_in_time_is_killed(backoff: Backoff) -> None:
    start = Starts(DEAF)
    supervisor = Supervisor("thing", start, backoff)
    supervisor.run()
    process = start.next()

    supervisor.stop(0.1)

    assert closed(process) == -signal.SIGKILL


def test_a_process_that_starts_during_the_stop_is_killed(backoff: Backoff) -> None:
    may_start, starting = threading.Event(), threading.Event()
    start = Starts(IDLE)

    def slowly() -> "subprocess.Popen[bytes]":
        starting.set()
        may_start.wait()
        return start()

    supervisor = Supervisor("thing", slowly, backoff)
    supervisor.run()
    starting.wait()
    stopping = threading.Thread(target=supervisor.stop, args=(SOON_S,))
    stopping.start()
    supervisor.stopping.wait()
    may_start.set()
    stopping.join()

    process = start.next()
    assert process.wait() == -signal.SIGKILL
    closed(process)
    assert start.attempts == 1


def test_the_pause_grows_while_the_process_ends_at_once_and_is_reset_by_a_long_run() -> None:
    backoff = Backoff(0.0, max_s=30.0)

    pauses = [backoff.after(lived_s) for lived_s in (0, 0, 0, 0, 0, 0, 31, 0)]

    assert pauses == [0.0, 1.0, 3.0, 7.0, 15.0, 30.0, 0.0, 1.0]
