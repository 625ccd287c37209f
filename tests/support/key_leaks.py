"""Finds keys that nothing will ever delete: each key without a time to live must be explained."""

import re
from typing import cast

import redis

from service.store.names import TEMPLATES, Names, parameters_of

# Keys that stay for as long as another key exists, and go with it.
OWNERS = {
    "series": "record",
    "model": "record",
    "checkpoint": "record",
    "x": "dataset_hash",
    "y": "dataset_hash",
    "users": "dataset_hash",
}
# Keys that stay, and why.
REASONS = {
    "record": "an experiment, until it is deleted or expires by GRADFLOW_KEEP_DAYS",
    "study_hash": "a study, until it is deleted or expires by GRADFLOW_KEEP_DAYS",
    "dataset_hash": "a data set, until it is deleted",
    "experiments": "Redis deletes an index with its last member",
    "with_status": "Redis deletes an index with its last member",
    "with_tag": "Redis deletes an index with its last member",
    "of_study": "Redis deletes an index with its last member",
    "studies": "Redis deletes an index with its last member",
    "datasets": "Redis deletes an index with its last member",
    "of_tenant": "Redis deletes an index with its last member",
    "queued_singles": "Redis deletes a queue with its last member",
    "queued_runs": "Redis deletes a queue with its last member",
    "queued_architectures": "Redis deletes a queue with its last member",
    "leases": "a lease goes with its run",
    "ended": "an entry goes with its experiment",
    "empty_studies": "an entry goes with its study",
    "trainers": "each heartbeat removes the trainers that are gone",
    "reserved": "one counter, deleted at 0",
    "datasets_bytes": "one counter",
    "keys": "API keys, until they are removed",
    "schema": "one version",
}
PARAMETER = "PARAMETER"


def _pattern(name: str) -> re.Pattern[str]:
    example = Names()(name, *(PARAMETER for _ in parameters_of(name)))
    return re.compile(re.escape(example).replace(PARAMETER, "(.+)"), re.DOTALL)


_PATTERNS = {name: _pattern(name) for name in TEMPLATES}


def leaked(client: redis.Redis) -> list[str]:
    """Return the keys of the store that have no time to live and no reason to stay."""
    keys = cast("list[bytes]", client.keys("gradflow:*"))
    existing = {key.decode(errors="replace") for key in keys}
    pipeline = client.pipeline(transaction=False)
    for key in keys:
        pipeline.pttl(key)
    forever = [key.decode(errors="replace") for key, ttl in zip(keys, pipeline.execute(), strict=True) if ttl == -1]
    return sorted(key for key in forever if not _is_explained(key, existing))


def _is_explained(key: str, existing: set[str]) -> bool:
    for name, pattern in _PATTERNS.items():
        match = pattern.fullmatch(key)
        if match is None:
            continue
        if name in REASONS:
            return True
        if name in OWNERS and Names()(OWNERS[name], match[1]) in existing:
            return True
    return False
