"""Finds what nothing will ever delete: keys without a time to live that nothing explains, entries of indexes without
their records, and counters that differ from the sum over the records."""

import re
from typing import Any, cast

import redis

from service.contract.history_format import SERIES
from service.store.names import TEMPLATES, Names, parameters_of

# Keys that stay for as long as another key exists, and go with it.
OWNERS = {
    "series": "record",
    "model": "record",
    "checkpoint": "record",
    "x": "dataset_hash",
    "y": "dataset_hash",
}
# Redis deletes an index with its last member; each member must have this hash.
MEMBERS = {
    "experiments": "record",
    "with_status": "record",
    "with_tag": "record",
    "of_study": "record",
    "queued_singles": "record",
    "queued_runs": "record",
    "leases": "record",
    "ended": "record",
    "users": "record",
    "studies": "study_hash",
    "empty_studies": "study_hash",
    "datasets": "dataset_hash",
    "queued_architectures": "queued_runs",
}
# Counters: the field of these hashes of which each is the sum.
COUNTERS = {"reserved": ("record", b"reserved"), "datasets_bytes": ("dataset_hash", b"bytes")}
# Keys that stay, and why.
REASONS = {
    "record": "an experiment, until it is deleted or expires by GRADFLOW_KEEP_DAYS",
    "study_hash": "a study, until it is deleted or expires by GRADFLOW_KEEP_DAYS",
    "dataset_hash": "a data set, until it is deleted",
    "trainers": "each heartbeat removes the trainers that are gone",
    "keys": "API keys, until they are removed",
    "schema": "one version",
}
PARAMETER = "PARAMETER"
VALUES = {"series": "|".join(map(re.escape, SERIES)), "tenant": "[^:]+"}  # of parameters; others take any text
NAMES = Names()


def _pattern(name: str) -> re.Pattern[str]:
    parameters = parameters_of(name)
    text = re.escape(NAMES(name, *(PARAMETER for _ in parameters)))
    for parameter in parameters:
        text = text.replace(PARAMETER, f"({VALUES.get(parameter, '.+')})", 1)
    return re.compile(text, re.DOTALL)


# Names without parameters first: `queued:architectures` is no queue of an architecture.
_PATTERNS = {name: _pattern(name) for name in sorted(TEMPLATES, key=lambda name: len(parameters_of(name)))}


def leaked(client: redis.Redis) -> list[str]:
    """Return what the store will never delete: the name of each key, with a reason where the key itself may stay."""
    keys = cast("list[bytes]", client.keys("gradflow:*"))
    pipeline = client.pipeline(transaction=False)
    for found in keys:
        pipeline.pttl(found)
    texts = [found.decode(errors="replace") for found in keys]
    times_to_live: dict[str, int] = dict(zip(texts, pipeline.execute(), strict=True))
    problems: list[str] = []
    for key in sorted(times_to_live):
        name, values = _name_of(key)
        if name == "exact" or (times_to_live[key] == -1 and not _may_stay(name, values, times_to_live)):
            problems.append(key)
        elif name in MEMBERS:
            members = _members(client, key)
            problems += [f"{key}: {m}" for m in members if NAMES(MEMBERS[name], m) not in times_to_live]
    return problems + _wrong_counters(client, times_to_live)


def _name_of(key: str) -> tuple[str | None, tuple[str, ...]]:
    """The name of a key and its parameters; that of the whole index for a tenant's part of it."""
    for name, pattern in _PATTERNS.items():
        if found := pattern.fullmatch(key):
            return _name_of(f"{NAMES.prefix}:{found[2]}") if name == "of_tenant" else (name, found.groups())
    return None, ()


def _may_stay(name: str | None, values: tuple[str, ...], existing: dict[str, int]) -> bool:
    if name in OWNERS:
        return NAMES(OWNERS[name], values[0]) in existing
    return name in REASONS or name in MEMBERS or name in COUNTERS


def _members(client: redis.Redis, key: str) -> list[str]:
    kind = client.type(key)
    members: Any = client.smembers(key) if kind == b"set" else client.zrange(key, 0, -1) if kind == b"zset" else []
    return sorted(member.decode(errors="replace") for member in members)


def _wrong_counters(client: redis.Redis, existing: dict[str, int]) -> list[str]:
    problems = []
    for counter, (owner, field) in COUNTERS.items():
        owners = [key for key in existing if _name_of(key)[0] == owner and client.type(key) == b"hash"]
        fields = [cast("bytes | None", client.hget(key, field)) or b"" for key in owners]
        expected = sum(int(value) for value in fields if value.isdigit())
        is_damaged = client.type(NAMES(counter)) not in (b"string", b"none")
        total = b"no number" if is_damaged else cast("bytes | None", client.get(NAMES(counter))) or b"0"
        if total != str(expected).encode():
            problems.append(f"{NAMES(counter)}: {total.decode()} instead of {expected}")
    return problems
