"""How much the server can still take: what is accepted must fit, or running work would stop for want of memory."""

import threading
import time

import redis

from service.contract.errors import StoreUnavailable
from service.store.admission import Admission
from service.store.connection import redis_errors_as_ours

MEASURED_FOR_S = 1.0


class AdmissionControl:
    """Limits on what waits; reads the server's memory once a second at most."""

    def __init__(self, client: redis.Redis, most_queued: int, share: float) -> None:
        self._redis = client
        self._most_queued = most_queued
        self._share = share
        self._measured_at = float("-inf")
        self._left: int | None = None
        self._away: str | None = None  # why it is not known
        self._lock = threading.Lock()

    def admission(self) -> Admission:
        """What may be admitted now."""
        with self._lock:
            if time.monotonic() - self._measured_at > MEASURED_FOR_S:
                self._measure()
            if self._away is not None:
                raise StoreUnavailable(self._away)
            return Admission(self._most_queued, self._left)

    def _measure(self) -> None:
        """That Redis is away is remembered too: all who wait for this would else wait for a look of their own."""
        try:
            self._left, self._away = self._bytes_left(), None
        except StoreUnavailable as error:
            self._away = str(error)
        self._measured_at = time.monotonic()

    def _bytes_left(self) -> int | None:
        """Until the share of its memory is used that may be; None where the server has no limit."""
        with redis_errors_as_ours():
            memory = self._redis.info("memory")
        if not memory["maxmemory"]:
            return None
        return int(self._share * memory["maxmemory"]) - int(memory["used_memory"])
