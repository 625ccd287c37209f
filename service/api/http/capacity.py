"""A limit on how many requests of one kind are served at the same time."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from service.contract.errors import StoreUnavailable


class Capacity:
    """Slots that requests take and give back, from any thread.

    Args:
        slots: The number of slots.
        error: What a request gets while no slot is free.
        message: Its message; `{}` stands for the number of slots.
    """

    def __init__(self, slots: int, error: type[StoreUnavailable], message: str) -> None:
        self._slots = slots
        self._error = error
        self._message = message.format(slots)
        self._taken = 0
        self._lock = threading.Lock()

    def take(self) -> None:
        """Take a slot; the caller gives it back.

        Raises:
            StoreUnavailable: No slot is free; the class is the one that was given.
        """
        with self._lock:
            if self._taken >= self._slots:
                raise self._error(self._message)
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
