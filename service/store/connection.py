"""Connects to Redis, and translates its errors into those of `service.contract.errors`."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import redis

from service.contract.errors import SchemaMismatch, StoreFull, StoreUnavailable
from service.store.schema import SCHEMA_VERSION
from service.store.settings import CONNECTION_OPTIONS, RedisSettings

OTHER_SCHEMA = "SCHEMA "  # followed by the version of the data: what a script of another version answers
TAKES_NO_WRITES = ("MISCONF ", "NOREPLICAS ", "BUSY ")  # a full disk, too few replicas, a script that runs for long


@contextmanager
def redis_errors_as_ours() -> Iterator[None]:
    """Translate errors of Redis.

    Raises:
        StoreUnavailable: Redis does not answer or takes no writes.
        StoreFull: Redis is out of memory.
        SchemaMismatch: a script found data of another version.
    """
    try:
        yield
    except redis.exceptions.OutOfMemoryError as error:
        raise StoreFull("Redis is out of memory") from error
    except (redis.exceptions.ConnectionError, redis.exceptions.TimeoutError) as error:
        raise StoreUnavailable("Redis does not answer") from error
    except redis.exceptions.ReadOnlyError as error:
        raise StoreUnavailable("Redis is a replica and takes no writes") from error
    except redis.exceptions.ResponseError as error:
        if str(error).startswith(OTHER_SCHEMA):
            raise SchemaMismatch(str(error).split()[1], SCHEMA_VERSION) from error
        if not str(error).startswith(TAKES_NO_WRITES):
            raise
        raise StoreUnavailable("Redis takes no writes for now") from error


def connect(settings: RedisSettings) -> redis.Redis:
    """Return a client, which connects with its first command."""
    options: dict[str, Any] = dict(CONNECTION_OPTIONS)
    if settings.password:
        options["password"] = settings.password
    if not settings.url.startswith("unix:"):
        options["socket_keepalive"] = True
    return redis.Redis.from_url(settings.url, **options)
