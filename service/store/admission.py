"""What a server may still take in."""

from dataclasses import dataclass

from service.contract.errors import StoreFull


@dataclass(frozen=True)
class Admission:
    """Limits that a submission must keep, checked in the script that makes it."""

    most_queued: int | None = None  # experiments that wait
    bytes_left: int | None = None  # for what waits, what runs, and what is new

    @property
    def arguments(self) -> tuple[str | int, str | int]:
        """As the scripts take them."""
        return (
            "" if self.most_queued is None else self.most_queued,
            "" if self.bytes_left is None else self.bytes_left,
        )

    def refusal(self, answer: int) -> StoreFull:
        """The error for what a script answers."""
        if answer == TOO_MANY:
            return StoreFull(f"{self.most_queued:,} experiments may wait; try again when some have run")
        return StoreFull("Redis has no room for the histories of what is accepted already and of this; delete some")


ANY = Admission()
TOO_MANY, TOO_LARGE = -3, -4
