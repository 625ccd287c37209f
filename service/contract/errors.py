"""Every error that gradflow raises on purpose. None of them knows HTTP: `service.api.problems` renders them.

GradflowError
├── InvalidSpec             the request is well formed, but one field has a fault
│   ├── LimitExceeded       the field asks for more than a limit allows
│   ├── InvalidCell         an experiment of a study has a fault
│   ├── NotJson             the body is not JSON, or two parsers may read it differently
│   ├── KeyReused           the Idempotency-Key belongs to another request
│   └── BadUpload           the uploaded file cannot be read as a data set
├── NotFound                there is no such experiment, study or data set, or it has no such part
├── Conflict                the current status does not allow the request
├── DamagedRecord           a stored record cannot be read; it can only be deleted
├── BadCursor               the page cursor does not come from this API
├── NotAuthenticated        a valid API key is missing
├── CrossOriginRequest      an API without keys received a cross-origin request
├── RateExceeded            an API key sent too many requests
├── StaleAttempt            an attempt that no longer owns its run tried to write
└── StoreUnavailable        Redis does not answer or refuses a command
    ├── SchemaMismatch      Redis holds data of another version
    ├── StoreFull           Redis has too little memory for the request
    ├── TooManyReaders      too many connections wait for events
    └── TooManyUploads      too many files are being received
"""

from service.contract.faults import Code, Excess, Fault


class GradflowError(Exception):
    """Base class of all errors of gradflow."""


class InvalidSpec(GradflowError):
    """A well-formed request with a fault in one field. Like every exception here it is immutable."""

    part = "body"  # of the request that holds the field
    code: Code = "rule"

    def __init__(
        self, location: tuple[str, ...], message: str, *, code: Code | None = None, excess: Excess | None = None
    ) -> None:
        """Create the error.

        Args:
            location: Path of the field within the part of the request.
            message: A sentence about the field, without its name.
            code: The kind of the fault, if it is not the one of the class.
            excess: The limit and the value, if the value is too large.
        """
        super().__init__(message)
        self._location = location
        self._fault = Fault(".".join((self.part, *location)), message, code or self.code, excess)

    @property
    def location(self) -> tuple[str, ...]:
        """Path of the field within the part of the request."""
        return self._location

    @property
    def fault(self) -> Fault:
        """The fault as a value."""
        return self._fault


class LimitExceeded(InvalidSpec):
    """A field asks for more than a limit allows."""

    code = "limit"

    def __init__(self, location: tuple[str, ...], limit: str, value: int, maximum: int) -> None:
        message = f"{limit}: {value:,} asked for, at most {maximum:,} allowed"
        super().__init__(location, message, excess=Excess(limit, value, maximum))


class InvalidCell(InvalidSpec):
    """An experiment of a study has a fault; its message begins with the values of the axes."""

    def __init__(self, cell: str, fault: Fault) -> None:
        """Wrap a fault of the experiment's spec, whose location begins with `body`."""
        _, *path = fault.location.split(".")
        within_base = path if path[:1] == ["base"] else ["base", *path]
        super().__init__(tuple(within_base), f"{cell}: {fault.message}", code=fault.code, excess=fault.excess)


class NotJson(InvalidSpec):
    """The body is not JSON, or two parsers may read it differently."""

    code = "json"


class BadUpload(InvalidSpec):
    """The uploaded file cannot be read as a data set; the message names the place in the file."""

    code = "file"

    def __init__(self, message: str, location: tuple[str, ...] = ("file",)) -> None:
        """Create the error; a location other than the file is a parameter of the query."""
        self.part = "body" if location == ("file",) else "query"
        super().__init__(location, message)


class KeyReused(InvalidSpec):
    """The `Idempotency-Key` belongs to an earlier request with another body."""

    part = "header"

    def __init__(self) -> None:
        super().__init__(("idempotency-key",), "this key was sent with another body before")


class NotFound(GradflowError):
    """There is no such experiment, study or data set, or it has no such part."""


class Conflict(GradflowError):
    """The current status of an experiment or study does not allow the request."""


class DamagedRecord(GradflowError):
    """The stored record of an experiment, a study or a data set cannot be read; it can only be deleted."""

    def __init__(self, kind: str, record_id: str, reason: str) -> None:
        super().__init__(f"the record of {kind} {record_id} is damaged and can only be deleted: {reason}")
        self.kind = kind
        self.record_id = record_id
        self.reason = reason


class BadCursor(GradflowError):
    """The page cursor does not come from an answer of this API."""


class NotAuthenticated(GradflowError):
    """The API needs a key, and the request has none or an unknown one."""


class CrossOriginRequest(GradflowError):
    """A page of another origin sent a request to an API that needs no key."""


class RateExceeded(GradflowError):
    """An API key sent too many requests; it may send the next one in `wait_s` seconds."""

    def __init__(self, message: str, wait_s: float) -> None:
        super().__init__(message)
        self.wait_s = wait_s


class StaleAttempt(GradflowError):
    """An attempt tried to write that no longer owns the run, or whose chunk does not continue the stored history."""


class StoreUnavailable(GradflowError):
    """Redis does not answer, or refuses the command for now."""


class SchemaMismatch(StoreUnavailable):
    """Redis holds data of another version than this process works with."""

    def __init__(self, found: str, expected: int) -> None:
        """Create the error; `found` is the version of the data, `expected` that of this process."""
        newer = found.isdecimal() and int(found) > expected
        advice = "update this process" if newer else "start the API of this version, which migrates the data"
        text = f"Redis holds data of schema version {found}, and this process works with {expected}"
        super().__init__(f"{text}: {advice}")


class StoreFull(StoreUnavailable):
    """Redis has too little memory for the request. Accepted experiments are not affected."""


class TooManyReaders(StoreUnavailable):
    """The maximum number of connections already wait for events."""


class TooManyUploads(StoreUnavailable):
    """The maximum number of files are already being received and read."""
