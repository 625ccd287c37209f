"""Ids sort by time, so that a list is a range of names in a sorted set."""

from typing import cast

import redis

from service.store.connection import redis_errors_as_ours


def newest(client: redis.Redis, index: str, before: str | None, count: int) -> list[str]:
    """Up to `count` ids of an index, newest first, older than `before`; raises StoreUnavailable."""
    start = "+" if before is None else f"({before}"
    with redis_errors_as_ours():
        found = client.zrange(index, start, "-", desc=True, bylex=True, offset=0, num=count)
    return [name.decode() for name in cast("list[bytes]", found)]
