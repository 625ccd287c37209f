"""SIGINT and SIGTERM as an event that the main thread waits for."""

import contextlib
import os
import select
import signal
from collections.abc import Iterator


class StopRequest:
    """Set by a signal, for good.

    This is a pipe and not a threading.Event, because a signal handler interrupts the main thread. If that waits for an
    Event, it can hold the lock for which the handler would then wait, forever.
    """

    def __init__(self) -> None:
        self._reader, self._writer = os.pipe()
        os.set_blocking(self._writer, False)

    def set(self, *_: object) -> None:
        """Request the stop; also a signal handler."""
        with contextlib.suppress(BlockingIOError):  # requested thousands of times
            os.write(self._writer, b"!")

    def wait(self, timeout_s: float | None = None) -> bool:
        """Wait for the request, at most for `timeout_s` seconds if given; return whether it was made."""
        readable, _, _ = select.select([self._reader], [], [], timeout_s)
        return bool(readable)

    @contextlib.contextmanager
    def on_signals(self) -> Iterator[None]:
        """Let SIGINT and SIGTERM make the request, and no longer end the process."""
        before = {number: signal.signal(number, self.set) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
