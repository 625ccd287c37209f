"""Time. Production has one clock, the server's, so that the clocks of workers and of the API never matter."""

from dataclasses import dataclass


@dataclass
class ShiftedClock:
    """The server's clock, moved by some seconds: for tests that must not wait for a lease to end.

    A store has the plain clock of the server unless it is constructed with one of these.
    """

    shift_s: float = 0.0

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        self.shift_s += seconds
