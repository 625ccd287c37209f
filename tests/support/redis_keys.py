"""The keys that a test has left in Redis."""

from typing import cast

import redis

from service.store.names import Names


def keys_of(client: redis.Redis) -> list[bytes]:
    """All keys, sorted, without the version of the schema, which every server holds."""
    found = cast("list[bytes]", client.keys("*"))
    return sorted(key for key in found if key != Names()("schema").encode())
