"""Damaged records: one that cannot be read hides no other, and can be deleted."""

import logging
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar, cast

import redis

from service.contract.errors import DamagedRecord, GradflowError
from service.store.connection import redis_errors_as_ours
from service.store.names import Names
from service.store.script_runner import Scripts

T = TypeVar("T")
Fields = Mapping[bytes, bytes]

# Everything that reading a changed text can raise. Errors of the connection are none of these.
UNREADABLE = (ArithmeticError, AttributeError, LookupError, OSError, TypeError, ValueError, GradflowError)
# In errors of scripts that say nothing about the data: a command or a key that the user may not use, and a SCRIPT KILL.
NOT_DAMAGE = ("ACL failure", "Script killed")
MAX_REPORTED = 10_000  # ids that one process remembers, so that its log names each once
OTHER_CODE = re.compile(r"(?!ERR )[A-Z]{2,} ")  # before the text of an error; ERR is that of an error within a script
NOT_A_HASH = "its key holds no hash"

logger = logging.getLogger(__name__)


@contextmanager
def damage_named(kind: str, record_id: str) -> Iterator[None]:
    """Turn what reading a stored text raises into one error that names the record.

    Raises:
        DamagedRecord: the text cannot be read.
    """
    try:
        yield
    except UNREADABLE as error:
        raise DamagedRecord(kind, record_id, _reason(error)) from error


def is_damage(error: redis.exceptions.ResponseError) -> bool:
    """Return whether an error says that stored values are damaged: a wrong type of key, or an error within a script."""
    text = str(error)
    if type(error) is not redis.exceptions.ResponseError or any(words in text for words in NOT_DAMAGE):
        return False
    return text.startswith("WRONGTYPE") or ("user_script" in text and OTHER_CODE.match(text) is None)


class DamageLog:
    """Logs each damaged record of one kind once per process."""

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self._reported: set[str] = set()

    def report(self, record_id: str, reason: object) -> None:
        """Log the record, unless it was logged before."""
        if record_id not in self._reported and len(self._reported) < MAX_REPORTED:
            self._reported.add(record_id)
            logger.error("the record of %s %s is damaged and left out: %s", self.kind, record_id, reason)

    def readable(self, found: Iterable[tuple[str, Any]], read: Callable[[str, Fields], T]) -> tuple[list[T], list[str]]:
        """Read what can be read.

        Args:
            found: ids with what a pipeline answered for their hashes: fields, nothing, or an error of the server.
            read: turns fields into a value; may raise DamagedRecord.

        Returns:
            The values in order, and the ids of damaged records. Records that do not exist are in neither.
        """
        values: list[T] = []
        damaged: list[str] = []
        for record_id, fields in found:
            try:
                if isinstance(fields, Exception):
                    raise DamagedRecord(self.kind, record_id, _wrong_type(fields))
                if fields:
                    values.append(read(record_id, fields))
            except DamagedRecord as error:
                self.report(record_id, error.reason)
                damaged.append(record_id)
        return values, damaged


def hash_fields(client: redis.Redis, kind: str, record_id: str, key: str) -> dict[bytes, bytes]:
    """The fields of a hash; none where there is no such key.

    Raises:
        DamagedRecord: the key holds something else.
        StoreUnavailable: Redis does not answer.
    """
    try:
        with redis_errors_as_ours():
            return client.hgetall(key)  # type: ignore[return-value]
    except redis.exceptions.ResponseError as error:
        raise DamagedRecord(kind, record_id, _wrong_type(error)) from error


def hashes(client: redis.Redis, keys: Sequence[str]) -> list[Any]:
    """The fields of each hash in one round trip; an error of the server in the place of a key that holds no hash.

    Raises:
        StoreUnavailable: Redis does not answer.
    """
    with redis_errors_as_ours():
        pipeline = client.pipeline(transaction=False)
        for key in keys:
            pipeline.hgetall(key)
        return pipeline.execute(raise_on_error=False)


def discard(client: redis.Redis, scripts: Scripts, names: Names, ids: Iterable[str]) -> None:
    """Delete everything of damaged records: their keys, and their entries in every index.

    The fields of such a record do not say in which indexes it is listed, so all keys of the server are searched.

    Args:
        client: the connection.
        scripts: over the same client.
        names: of all keys.
        ids: of experiments, studies or data sets.

    Raises:
        StoreUnavailable: Redis does not answer.
    """
    with redis_errors_as_ours():
        indexes = [
            cast("bytes", key).decode()
            for kind in ("zset", "set")
            for key in client.scan_iter(match=f"{names.prefix}:*", count=1_000, _type=kind)
        ]
    for record_id in ids:
        scripts.run("discard", id=record_id, more_keys=indexes)


def _wrong_type(error: Exception) -> str:
    if not str(error).startswith("WRONGTYPE"):
        raise error
    return NOT_A_HASH


def _reason(error: Exception) -> str:
    first_line = str(error).strip().partition("\n")[0]
    return f"{type(error).__name__}: {first_line}"
