"""The codes that scripts return; the header of each file in `lua` declares its own."""

from enum import StrEnum


class Creation(StrEnum):
    """The answer to a new experiment or study."""

    CREATED = "CREATED"
    REPEATED = "REPEATED"  # an earlier request with the same key created it
    ID_TAKEN = "ID_TAKEN"
    NO_DATASET = "NO_DATASET"
    OTHER_BODY = "OTHER_BODY"  # the key came with another body before
    TOO_MANY_QUEUED = "TOO_MANY_QUEUED"
    TOO_MANY_BYTES = "TOO_MANY_BYTES"
    UNKNOWN = "UNKNOWN"  # no request with this key created anything that is still there


class Deletion(StrEnum):
    """The answer to a deletion."""

    DELETED = "DELETED"
    RUNNING = "RUNNING"
    IN_USE = "IN_USE"
    MISSING = "MISSING"


class Cancellation(StrEnum):
    """The answer to the cancellation of a study."""

    CANCELLED = "CANCELLED"
    ENDED = "ENDED"
    MISSING = "MISSING"


class Write(StrEnum):
    """The answer to a write of a trainer."""

    DONE = "DONE"
    CANCEL_REQUESTED = "CANCEL_REQUESTED"  # done, and the run is to stop
    DROPPED = "DROPPED"
    NO_CHECKPOINT = "NO_CHECKPOINT"
    STALE = "STALE"  # refused: the attempt does not own the run


class Upload(StrEnum):
    """The answer to a new data set."""

    ADDED = "ADDED"
    FULL = "FULL"


class MigrationStep(StrEnum):
    """The answer to one step of a migration."""

    DONE = "DONE"
    DAMAGED = "DAMAGED"
    LOCK_LOST = "LOCK_LOST"
