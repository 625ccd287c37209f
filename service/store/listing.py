"""Pages of a list. Ids sort by time, so that a list is a range of names in a sorted set."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar, cast

import redis

from service.store.connection import redis_errors_as_ours
from service.store.damage import DamageLog, Fields, hashes

T = TypeVar("T")


@dataclass(frozen=True)
class Page(Generic[T]):
    """Some records, newest first."""

    records: tuple[T, ...]
    next_before: str | None  # the id after which the next page begins; None on the last page
    unreadable: int = 0  # damaged records that belong on this page and are left out


def newest(client: redis.Redis, index: str, before: str | None, count: int) -> list[str]:
    """Up to `count` ids of an index, newest first, older than `before`; raises StoreUnavailable."""
    start = "+" if before is None else f"({before}"
    with redis_errors_as_ours():
        found = client.zrange(index, start, "-", desc=True, bylex=True, offset=0, num=count)
    return [name.decode(errors="replace") for name in cast("list[bytes]", found)]


def page_of(
    client: redis.Redis,
    index: str,
    key: Callable[[str], str],
    read: Callable[[str, Fields], T],
    damage: DamageLog,
    limit: int,
    before: str | None,
) -> Page[T]:
    """Read one page of an index.

    Args:
        client: the connection.
        index: the sorted set of ids.
        key: the key of the hash of an id.
        read: turns the fields of a hash into a record; may raise DamagedRecord.
        damage: logs what cannot be read.
        limit: the most ids on a page.
        before: only older ids.

    Returns:
        The page.

    Raises:
        StoreUnavailable: Redis does not answer.
    """
    ids = newest(client, index, before, limit + 1)
    shown = ids[:limit]
    found = zip(shown, hashes(client, [key(record_id) for record_id in shown]), strict=True)
    records, damaged = damage.readable(found, read)
    return Page(tuple(records), shown[-1] if len(ids) > limit else None, len(damaged))
