"""Admission control: what is accepted must fit into Redis, because running experiments fail when memory is full."""

import threading
import time
from collections.abc import Callable

import redis

from service.application.remembered import Remembered
from service.store.admission import Admission
from service.store.connection import redis_errors_as_ours

SAMPLED_FOR_S = 1.0


class AdmissionControl:
    """Limits the queue and the memory of Redis. It samples the memory at most once per SAMPLED_FOR_S."""

    def __init__(
        self,
        client: redis.Redis,
        max_queued: int,
        memory_share: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Create the control.

        Args:
            client: The server whose memory is limited.
            max_queued: Experiments that may be queued at a time.
            memory_share: Part of the server's `maxmemory` that may be used.
            clock: Seconds since any fixed moment.
        """
        self._redis = client
        self._max_queued = max_queued
        self._memory_share = memory_share
        self._bytes_left = Remembered(self._read_bytes_left, SAMPLED_FOR_S, clock)
        self._lock = threading.Lock()

    def admission(self) -> Admission:
        """Return what may be admitted now.

        Raises:
            StoreUnavailable: Redis did not answer the last sample.
        """
        with self._lock:
            if self._bytes_left.is_expired:
                self._bytes_left.refresh()
            return Admission(self._max_queued, self._bytes_left.value)

    def _read_bytes_left(self) -> int | None:
        """Return the bytes until the allowed share of the memory is used; None if the server has no limit."""
        with redis_errors_as_ours():
            memory = self._redis.info("memory")
        if not memory["maxmemory"]:
            return None
        return int(self._memory_share * memory["maxmemory"]) - int(memory["used_memory"])
