"""Work that takes a processor for long."""

from collections.abc import Callable
from typing import TypeVar

from anyio import CapacityLimiter, to_thread
from threadpoolctl import threadpool_limits

AT_ONCE = 2

T = TypeVar("T")


class Computing:
    """A few threads for such work; who finds them taken waits in no thread, so that other requests find theirs.

    In this process a product of matrices has one thread from now on. Theirs are small: on two busy cores predictions
    took ten times as long with two threads.
    """

    def __init__(self, at_once: int = AT_ONCE) -> None:
        threadpool_limits(1, "blas")
        self._limiter = CapacityLimiter(at_once)

    async def done(self, work: Callable[[], T]) -> T:
        """What the work gives, when its turn has come."""
        return await to_thread.run_sync(work, limiter=self._limiter)
