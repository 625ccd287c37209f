"""Runs the Lua scripts of `service/store/lua` by name, with named arguments."""

from collections.abc import Sequence
from typing import Any

import redis

from service.contract.errors import StoreUnavailable
from service.store.clock import ShiftedClock
from service.store.connection import redis_errors_as_ours
from service.store.names import TEMPLATES, Names, parameters_of
from service.store.script_source import Source, parsed, source_of

DURABLE_WITHIN_MS = 5_000


class Scripts:
    """Scripts over one client.

    Args:
        client: the connection.
        names: of all keys.
        clock: moves the clock that the scripts see; only for tests.
    """

    def __init__(self, client: redis.Redis, names: Names, clock: ShiftedClock | None = None) -> None:
        self._redis = client
        self._names = names
        self._clock = clock
        self._loaded: dict[str, tuple[Source, Any]] = {}

    def add(self, name: str, text: str) -> None:
        """Add a script of this text under a name, next to those of the folder; for tests and tools."""
        source = parsed(text, self._names, self._clock is not None)
        self._loaded[name] = source, self._redis.register_script(source.text)

    def run(self, name: str, /, *, more_keys: Sequence[str] = (), rest: Sequence[Any] = (), **arguments: Any) -> Any:
        """Run a script.

        Args:
            name: the name of its file in `lua`.
            more_keys: KEYS after the declared ones.
            rest: ARGV after the declared ones.
            **arguments: its arguments by name, and the keys that `Names` does not derive from them.

        Returns:
            What the script returns; its file says what that is.

        Raises:
            StoreUnavailable: Redis does not answer, takes no writes, or holds data of another schema version.
        """
        script, keys, values = self._call(name, more_keys, rest, arguments)
        with redis_errors_as_ours():
            return script(keys=keys, args=values)

    def run_durably(self, name: str, /, *, rest: Sequence[Any] = (), **arguments: Any) -> Any:
        """Run a script, and wait until what it wrote is on the server's disk, if the server has an append-only file.

        Args:
            name: as in `run`.
            rest: as in `run`.
            **arguments: as in `run`.

        Returns:
            What the script returns.

        Raises:
            StoreUnavailable: as in `run`, and if the disk was too slow: the write is done, but a crash of the server
                may lose it.
        """
        script, keys, values = self._call(name, (), rest, arguments)
        with redis_errors_as_ours():
            # One connection, because WAITAOF waits for the writes of its own connection.
            pipeline = self._redis.pipeline(transaction=False)
            pipeline.evalsha(script.sha, len(keys), *keys, *values)
            pipeline.waitaof(1, 0, DURABLE_WITHIN_MS)
            answer, synced = pipeline.execute(raise_on_error=False)
            if isinstance(answer, redis.exceptions.NoScriptError):
                self._redis.script_load(script.script)
                return self.run_durably(name, rest=rest, **arguments)
            if isinstance(answer, Exception):
                raise answer
            if isinstance(synced, redis.exceptions.ConnectionError | redis.exceptions.TimeoutError):
                raise synced
            # Another error says that the server has no append-only file.
            if not isinstance(synced, Exception) and not synced[0]:
                raise StoreUnavailable(f"Redis has kept this in memory, but not on disk within {DURABLE_WITHIN_MS} ms")
        return answer

    def _call(
        self, name: str, more_keys: Sequence[str], rest: Sequence[Any], arguments: dict[str, Any]
    ) -> tuple[Any, list[str], list[Any]]:
        if name not in self._loaded:
            source = source_of(name, self._names, self._clock is not None)
            self._loaded[name] = source, self._redis.register_script(source.text)
        source, script = self._loaded[name]
        keys = [
            self._names(key, *(arguments[parameter] for parameter in parameters_of(key)))
            if key in TEMPLATES
            else arguments[key]
            for key in source.keys
        ]
        if rest and source.rest is None:
            raise TypeError(f"{name} takes no further arguments")
        values = [arguments[argument] for argument in source.arguments]
        if unknown := arguments.keys() - set(source.arguments) - set(source.keys):
            raise TypeError(f"{name} has no argument {', '.join(sorted(unknown))}")
        if self._clock is not None:
            return script, [*keys, *more_keys], [*values, *rest, self._clock.shift_s]
        return script, [*keys, *more_keys], [*values, *rest]
