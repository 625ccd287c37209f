"""What can go wrong, without a word of HTTP (`service.api.problems` translates).

GradflowError
├── InvalidSpec             a spec contradicts itself or breaks a limit
│   ├── LimitExceeded       ... and this names the limit
│   ├── NotJson             a body that is no JSON, or not the same to every reader
│   ├── KeyReused           an Idempotency-Key that stands for another request
│   └── BadUpload           an uploaded file that cannot be read as a data set; names the place
├── NotFound                no such experiment, data set, or part of one
├── Conflict                its present state forbids it
├── DamagedRecord           what Redis holds of it cannot be read; it can be deleted
├── BadCursor               a page cursor that no answer of ours contained
├── NotAuthenticated        an API key is needed, or is not known
├── ForeignPage             a page of another site asks, where no API key is needed
├── RateExceeded            an API key asks too often; says when it may again
├── StaleAttempt            a write by an attempt that no longer owns the run
└── StoreUnavailable        Redis is away or refuses to answer
    ├── StoreFull           Redis is out of memory, or would be
    ├── TooManyReaders      as many connections wait for events as may
    └── TooManyUploads      as many files are received and read as may
"""


class GradflowError(Exception):
    """Base of every error that gradflow raises on purpose."""


class InvalidSpec(GradflowError):
    """A spec that is well formed but cannot be run; `location` is the path of the field at fault."""

    part = "body"  # of the request
    code = "rule"  # for a client's program: what kind of fault it is

    def __init__(self, location: tuple[str, ...], message: str) -> None:
        super().__init__(message)
        self.location = location
        self.message = message


class LimitExceeded(InvalidSpec):
    """A spec that asks for more than a limit allows."""

    code = "limit"

    def __init__(self, location: tuple[str, ...], limit: str, value: int, maximum: int) -> None:
        super().__init__(location, f"{limit}: {value:,} asked for, at most {maximum:,} allowed")
        self.limit = limit
        self.value = value
        self.maximum = maximum


class NotJson(InvalidSpec):
    """A body that is no JSON, or JSON that two readers may understand in two ways."""

    code = "json"


class BadUpload(InvalidSpec):
    """An uploaded file that cannot be read as a data set; the message names the place in it."""

    code = "file"

    def __init__(self, message: str, location: tuple[str, ...] = ("file",)) -> None:
        super().__init__(location, message)
        self.part = "body" if location == ("file",) else "query"


class KeyReused(InvalidSpec):
    """An `Idempotency-Key` that came with another body before."""

    part = "header"

    def __init__(self) -> None:
        super().__init__(("idempotency-key",), "this key was sent with another body before")


class NotFound(GradflowError):
    """There is no such experiment or data set, or it has no such part."""


class Conflict(GradflowError):
    """The experiment's present status forbids what was asked."""


class DamagedRecord(GradflowError):
    """What Redis holds of an experiment, a study or a data set cannot be read; it can still be deleted."""

    def __init__(self, kind: str, record_id: str, reason: str) -> None:
        super().__init__(f"the record of {kind} {record_id} is damaged and can only be deleted: {reason}")
        self.kind = kind
        self.record_id = record_id
        self.reason = reason


class BadCursor(GradflowError):
    """A page cursor that no answer of ours contained."""


class NotAuthenticated(GradflowError):
    """An API key is needed and none was given, or none that is known."""


class ForeignPage(GradflowError):
    """A page of another site asks, where no API key is needed."""


class RateExceeded(GradflowError):
    """An API key asks too often; it may ask again in `wait_s` seconds."""

    def __init__(self, message: str, wait_s: float) -> None:
        super().__init__(message)
        self.wait_s = wait_s


class StaleAttempt(GradflowError):
    """A write by an attempt that no longer owns the run, or that is not where the stored history ends."""


class StoreUnavailable(GradflowError):
    """Redis is away, or refuses to answer for now."""


class StoreFull(StoreUnavailable):
    """Redis is out of memory, or would be; what was accepted before is kept."""


class TooManyReaders(StoreUnavailable):
    """As many connections wait for events as may."""


class TooManyUploads(StoreUnavailable):
    """As many files are received and read as may."""
