"""Ids: 24 hexadecimal digits that sort by time."""

import secrets
import time
from collections.abc import Callable

CELL_DIGITS = 6  # the last digits of the id of a study's run: its index in the grid


def _wall_clock_ms() -> int:
    return time.time_ns() // 1_000_000


class Ids:
    """Makes ids. Later ids sort after earlier ones, to the millisecond.

    Args:
        now_ms: the time in milliseconds; tests give a counter, so that ids sort in the order in which they are made.
    """

    def __init__(self, now_ms: Callable[[], int] = _wall_clock_ms) -> None:
        self._now_ms = now_ms

    def new(self) -> str:
        """Return an id of an experiment or a data set."""
        return f"{self._now_ms():012x}{secrets.token_hex(6)}"

    def new_study(self, runs: int) -> tuple[str, list[str]]:
        """Return the id of a study and the ids of its runs, which sort in the order of the grid, before the study's."""
        stem = f"{self._now_ms():012x}{secrets.token_hex(3)}"
        return f"{stem}ffffff", [f"{stem}{i:0{CELL_DIGITS}x}" for i in range(runs)]


def new_id() -> str:
    """Return an id by the wall clock."""
    return Ids().new()
