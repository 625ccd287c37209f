"""Server-side scripts, called by name."""

from collections.abc import Mapping, Sequence
from typing import Any

import redis

from service.contract.errors import StoreUnavailable
from service.store.connection import redis_errors_as_ours

DURABLE_WITHIN_MS = 5_000


class Scripts:
    """Scripts of one module; each gets the key prefix and an id as its first two arguments."""

    def __init__(self, client: redis.Redis, prefix: str, sources: Mapping[str, str]) -> None:
        self._redis = client
        self._prefix = prefix
        self._sources = sources
        self._scripts = {name: client.register_script(source) for name, source in sources.items()}

    def run(self, name: str, of: str, *arguments: Any, keys: Sequence[str] = ()) -> Any:
        """What the script answers.

        Raises:
            StoreUnavailable: Redis is away or takes no writes.
        """
        with redis_errors_as_ours():
            return self._scripts[name](keys=keys, args=[self._prefix, of, *arguments])

    def run_durably(self, name: str, of: str, *arguments: Any) -> Any:
        """The same, and what it has written is on the server's disk, where the server has an append-only file.

        Raises:
            StoreUnavailable: also where the disk was too slow: what was written stands, but a crash may take it back.
        """
        script = self._scripts[name]
        with redis_errors_as_ours():
            pipeline = self._redis.pipeline(transaction=False)  # one connection: the wait is for its own writes
            pipeline.evalsha(script.sha, 0, self._prefix, of, *arguments)
            pipeline.waitaof(1, 0, DURABLE_WITHIN_MS)
            answer, synced = pipeline.execute(raise_on_error=False)
            if isinstance(answer, redis.exceptions.NoScriptError):
                self._redis.script_load(self._sources[name])
                return self.run_durably(name, of, *arguments)
            if isinstance(answer, Exception):
                raise answer
            if isinstance(synced, redis.exceptions.ConnectionError | redis.exceptions.TimeoutError):
                raise synced
            if not isinstance(synced, Exception) and not synced[0]:  # an error says that there is no such file
                raise StoreUnavailable(f"Redis has kept this in memory, but not on disk within {DURABLE_WITHIN_MS} ms")
        return answer
