"""A limit on how many requests of one kind are served at the same time."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from service.contract.errors import StoreUnavailable


class Capacity:
    """Slots that requests take and give back, from any thread.

    Args:
        slots: The number of slots.
        full: Makes the error that a request gets while no slot is free.
    """

    def __init__(self, slots: int, full: type[StoreUnavailable], message: str) -> None:
        self._slots = slots
        self._error = full
        self._message = message
        self._taken = 0
        self._lock = threading.Lock()

    def take(self) -> None:
        """Take a slot; the caller gives it back.

        Raises:
            StoreUnavailable: of the kind `full`, if no slot is free.
        """
        with self._lock:
            if self._taken >= self._slots:
                raise self._error(self._message.format(self._slots))
            self._taken += 1

    def give_back(self) -> None:
        """Give back a slot."""
        with self._lock:
            self._taken -= 1

    @contextmanager
    def slot(self) -> Iterator[None]:
        """A slot for the time of a `with` block; raises what `take` raises."""
        self.take()
        try:
            yield
        finally:
            self.give_back()
