"""API keys in Redis. The names of all keys are in `service.store.names`."""

import hashlib
import hmac
import re
import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import cast

import redis
from pydantic import BaseModel, ConfigDict, Field

from service.contract.errors import DamagedRecord, NotFound
from service.store.connection import redis_errors_as_ours
from service.store.damage import DamageLog, damage_named
from service.store.names import Names
from service.store.script_runner import Scripts
from service.store.tenants import EVERYBODY

SECRET_BYTES = 32
ID_DIGITS = 8  # of the hash, hexadecimal: enough to tell keys apart
NAME = re.compile(r"[a-z0-9][a-z0-9_.-]{0,59}")  # part of the names of Redis keys: no colon


class KeyHolder(BaseModel):
    """The name of a key, and what its holder may see."""

    model_config = ConfigDict(frozen=True)

    name: str
    operator: bool = Field(False, description="Sees the records of all tenants.")
    created_at: datetime

    @property
    def tenant(self) -> str:
        """The tenant whose records the holder sees and creates."""
        return EVERYBODY if self.operator else self.name


class Key(BaseModel):
    """A stored key: its hash and its holder, not the key itself."""

    model_config = ConfigDict(frozen=True)

    digest: bytes
    holder: KeyHolder

    @property
    def id(self) -> str:
        """The beginning of the hash, which distinguishes the keys of one name."""
        return self.digest.hex()[:ID_DIGITS]


@dataclass(frozen=True)
class KnownKeys:
    """Every key that is configured."""

    keys: tuple[Key, ...] = ()  # by name and age
    unreadable: tuple[str, ...] = ()  # ids of damaged entries, which give no access

    @property
    def any_configured(self) -> bool:
        """Whether the API is protected. A damaged key protects it too: damage must not open it to everybody."""
        return bool(self.keys or self.unreadable)


class Keys:
    """API keys in Redis; every method may raise StoreUnavailable.

    Args:
        client: the connection.
        clock: seconds, for the limit of requests; by default the clock of Redis, which all API processes share.
        prefix: of all keys.
    """

    def __init__(
        self, client: redis.Redis, clock: Callable[[], float] | None = None, *, prefix: str = "gradflow"
    ) -> None:
        self._redis = client
        self._clock = clock
        names = Names(prefix)
        self._name = names("keys")
        self._scripts = Scripts(client, names)
        self._damage = DamageLog("API key")

    def add(self, name: str, operator: bool = False) -> str:
        """Create a key and return it. A name may have several keys, so that one can replace another.

        Raises:
            ValueError: the name is not allowed.
        """
        if not NAME.fullmatch(name):
            raise ValueError(f"a name is up to 60 lower-case letters, digits, '-', '_' and '.', not {name!r}")
        key = f"gradflow_{secrets.token_urlsafe(SECRET_BYTES)}"
        holder = KeyHolder(name=name, operator=operator, created_at=datetime.now(UTC).replace(microsecond=0))
        with redis_errors_as_ours():
            self._redis.hset(self._name, digest_of(key.encode()).hex(), holder.model_dump_json())
        return key

    def all(self) -> KnownKeys:
        """Return all keys; of damaged ones only the ids are known."""
        keys: list[Key] = []
        unreadable: list[str] = []
        for field, holder in self._stored().items():
            key_id = field[:ID_DIGITS].decode(errors="replace")
            try:
                with damage_named("API key", key_id):
                    digest = bytes.fromhex(field.decode())
                    keys.append(Key(digest=digest, holder=KeyHolder.model_validate_json(holder)))
            except DamagedRecord as error:
                self._damage.report(key_id, error.reason)
                unreadable.append(key_id)
        keys.sort(key=lambda key: (key.holder.name, key.holder.created_at, key.digest))
        return KnownKeys(tuple(keys), tuple(sorted(unreadable)))

    def remove(self, name: str, key_id: str | None = None) -> int:
        """Delete the keys of a name, or the one with this id; return how many were deleted.

        The name of a damaged key is lost: it is deleted by its id, with any name.

        Raises:
            NotFound: there is none.
        """
        known = self.all()
        gone = [key.digest.hex() for key in known.keys if key.holder.name == name and key_id in (None, key.id)]
        if key_id in known.unreadable:
            gone += [field.decode() for field in self._stored() if field.startswith(str(key_id).encode())]
        if not gone:
            raise NotFound(f"{name} has no key" + (f" {key_id}" if key_id else ""))
        with redis_errors_as_ours():
            self._redis.hdel(self._name, *gone)
        return len(gone)

    def _stored(self) -> dict[bytes, bytes]:
        with redis_errors_as_ours():
            return cast("dict[bytes, bytes]", self._redis.hgetall(self._name))

    def wait_of(self, key: Key, requests_per_s: float, burst: int) -> float:
        """Take a token from the bucket of a key; return 0, or the seconds until there is one."""
        now = "" if self._clock is None else self._clock()
        digest = key.digest.hex()
        return float(self._scripts.run("take_token", digest=digest, rate=requests_per_s, burst=burst, time=now))


def digest_of(key: bytes) -> bytes:
    """Return the SHA-256 of a key. A key has 256 random bits, so that a slow password hash would add nothing."""
    return hashlib.sha256(key).digest()


def matching(keys: Sequence[Key], key: bytes) -> Key | None:
    """Return the stored key that equals this key, or None, in a time that does not depend on the key."""
    digest, found = digest_of(key), None
    for known in keys:
        if hmac.compare_digest(known.digest, digest):
            found = known
    return found
