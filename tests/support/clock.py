"""A clock that a test sets."""


class Clock:
    """Stands still until the test advances it."""

    def __init__(self) -> None:
        self.now = 1_000_000.0

    def __call__(self) -> float:
        """The time in seconds."""
        return self.now

    def advance(self, seconds: float) -> None:
        """Let this time pass."""
        self.now += seconds
