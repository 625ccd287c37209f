"""A reading of Redis that is kept for a short time, whether it succeeds or fails."""

import time
from collections.abc import Callable
from typing import Generic, TypeVar

from service.contract.errors import StoreUnavailable

T = TypeVar("T")


class Remembered(Generic[T]):
    """The result of `read`, or its failure, for `keep_s` seconds.

    The failure is kept as well; otherwise each waiter would repeat the lookup and its timeout. The caller makes sure
    that at most one thread refreshes at a time.
    """

    def __init__(self, read: Callable[[], T], keep_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._read = read
        self._keep_s = keep_s
        self._clock = clock
        self._expires_at = float("-inf")
        self._result: T | StoreUnavailable

    @property
    def is_expired(self) -> bool:
        """Whether the value must be refreshed before it is used."""
        return self._clock() >= self._expires_at

    def refresh(self) -> None:
        """Read again."""
        try:
            self._result = self._read()
        except StoreUnavailable as error:
            self._result = error
        self._expires_at = self._clock() + self._keep_s

    @property
    def value(self) -> T:
        """The value of the last refresh.

        Raises:
            StoreUnavailable: The last refresh failed.
        """
        if isinstance(self._result, StoreUnavailable):
            raise StoreUnavailable(str(self._result))
        return self._result
