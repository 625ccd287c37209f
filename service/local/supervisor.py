"""Keeps one child process running."""

import contextlib
import logging
import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable

logger = logging.getLogger(__name__)


class Backoff:
    """The pauses before the starts of a process that keeps ending: each is twice the previous pause plus 1 s.

    The pauses begin again after a process has run for longer than the longest pause.
    """

    def __init__(self, first_s: float, max_s: float = 30.0) -> None:
        self._first_s = first_s
        self._max_s = max_s
        self._next_s = first_s

    def after(self, lived_s: float) -> float:
        """The pause after a process that has run for this long."""
        if lived_s > self._max_s:
            self._next_s = self._first_s
        pause = self._next_s
        self._next_s = min(2 * pause + 1.0, self._max_s)
        return pause


class Supervisor:
    """Starts a child process again, after a pause, whenever it ends.

    `start` returns the new process, which leads a process group of its own; if it raises an exception, the supervisor
    logs it and tries again. `stopping` is set once `stop` has been called.
    """

    def __init__(
        self,
        name: str,
        start: Callable[[], "subprocess.Popen[bytes]"],
        backoff: Backoff,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._name = name
        self._start = start
        self._backoff = backoff
        self._clock = clock
        self._lock = threading.Lock()  # between a new process and the request to stop
        self._thread = threading.Thread(target=self._watch, name=f"{name}-supervisor", daemon=True)
        self._process: subprocess.Popen[bytes] | None = None
        self.stopping = threading.Event()

    def run(self, process: "subprocess.Popen[bytes] | None" = None) -> None:
        """Supervise this process, or one that the supervisor starts itself."""
        self._process = process
        self._thread.start()

    def stop(self, within_s: float) -> None:
        """End the process: by SIGTERM, and if it still runs after `within_s`, by SIGKILL to its whole group."""
        with self._lock:
            self.stopping.set()
        self._send(signal.SIGTERM)
        self._thread.join(within_s)
        if self._thread.is_alive():
            self._send(signal.SIGKILL, group=True)
            self._thread.join()

    def _watch(self) -> None:
        if self._process is None:
            self._start_after(0.0)
        while self._process is not None:
            began = self._clock()
            status = self._process.wait()
            if self.stopping.is_set():
                return
            logger.warning("the %s has ended (exit status %s) and is started again", self._name, status)
            self._start_after(self._backoff.after(self._clock() - began))

    def _start_after(self, pause_s: float) -> None:
        """Start a process after this pause, and again until that succeeds."""
        while not self.stopping.wait(pause_s) and not self._started():
            pause_s = self._backoff.after(0.0)

    def _started(self) -> bool:
        try:
            process = self._start()
        except Exception as error:
            logger.warning("the %s cannot be started: %s", self._name, error)
            return False
        with self._lock:
            self._process = process
            if self.stopping.is_set():  # `stop` has ended the previous process; this one has done nothing yet
                self._send(signal.SIGKILL, group=True)
        return True

    def _send(self, number: signal.Signals, *, group: bool = False) -> None:
        process = self._process
        if process is not None and process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                (os.killpg if group else os.kill)(process.pid, number)
