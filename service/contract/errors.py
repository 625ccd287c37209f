"""What can go wrong, without a word of HTTP (`service.problems` translates).

GradflowError
├── InvalidSpec             a spec contradicts itself or breaks a limit
│   └── LimitExceeded       ... and this names the limit
├── NotFound                no such experiment
├── Conflict                the experiment's status forbids it
├── BadCursor               a page cursor that no answer of ours contained
├── StaleAttempt            a write by an attempt that no longer owns the run
└── StoreUnavailable        Redis is away or refuses to answer
    └── StoreFull           Redis is out of memory
"""


class GradflowError(Exception):
    """Base of every error that gradflow raises on purpose."""


class InvalidSpec(GradflowError):
    """A spec that is well formed but cannot be run; `location` is the path of the field at fault."""

    def __init__(self, location: tuple[str, ...], message: str) -> None:
        super().__init__(message)
        self.location = location
        self.message = message


class LimitExceeded(InvalidSpec):
    """A spec that asks for more than a limit allows."""

    def __init__(self, location: tuple[str, ...], limit: str, value: int, maximum: int) -> None:
        super().__init__(location, f"{limit}: {value:,} asked for, at most {maximum:,} allowed")
        self.limit = limit
        self.value = value
        self.maximum = maximum


class NotFound(GradflowError):
    """There is no such experiment."""


class Conflict(GradflowError):
    """The experiment's present status forbids what was asked."""


class BadCursor(GradflowError):
    """A page cursor that no answer of ours contained."""


class StaleAttempt(GradflowError):
    """A write by an attempt that no longer owns the run, or that is not where the stored history ends."""


class StoreUnavailable(GradflowError):
    """Redis is away, or refuses to answer for now."""


class StoreFull(StoreUnavailable):
    """Redis is out of memory; what was accepted before is kept."""
