"""Threads for work that takes a processor for a long time."""

from collections.abc import Callable
from typing import TypeVar

from anyio import CapacityLimiter, to_thread
from threadpoolctl import threadpool_limits

MAX_THREADS = 2

T = TypeVar("T")


class Computing:
    """Runs long computations in a few threads; requests that wait for one of them occupy no thread.

    It also limits BLAS to one thread in this process. The matrices are small: with two BLAS threads on two busy cores
    predictions took ten times as long.
    """

    def __init__(self, max_threads: int = MAX_THREADS) -> None:
        threadpool_limits(1, "blas")
        self._limiter = CapacityLimiter(max_threads)

    async def run(self, work: Callable[[], T]) -> T:
        """Wait for a free thread, run `work` in it and return its result."""
        return await to_thread.run_sync(work, limiter=self._limiter)
