"""The limits that a submission must keep, checked in the script that creates it."""

from dataclasses import dataclass

from service.contract.errors import StoreFull
from service.store.results import Creation


@dataclass(frozen=True)
class Admission:
    """Limits of what may be queued; None is no limit."""

    max_queued: int | None = None  # experiments
    bytes_left: int | None = None  # for histories: of queued and running experiments and of the new one

    @property
    def arguments(self) -> dict[str, str | int]:
        """Return the limits as arguments of the scripts."""
        return {
            "max_queued": "" if self.max_queued is None else self.max_queued,
            "bytes_left": "" if self.bytes_left is None else self.bytes_left,
        }

    def refusal(self, answer: Creation) -> StoreFull:
        """Return the error for a submission that breaks a limit."""
        if answer is Creation.TOO_MANY_QUEUED:
            return StoreFull(f"at most {self.max_queued:,} experiments may be queued; try again when some have run")
        return StoreFull(
            "Redis has too little memory for the history of this and of the experiments that are queued or running; "
            "delete some"
        )


NO_LIMITS = Admission()
