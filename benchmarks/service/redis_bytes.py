"""The memory that one experiment takes in Redis."""

import redis

from service.contract.history_format import SERIES
from service.store.names import Names


def bytes_used(client: redis.Redis, experiment_id: str) -> int:
    """Return the bytes of all keys of an experiment, with all overhead except its entries in indexes."""
    names = Names()
    keys = [names(name, experiment_id) for name in ("record", "model", "checkpoint")]
    keys += [names("series", experiment_id, series) for series in SERIES]
    return sum(client.memory_usage(key, samples=0) or 0 for key in keys)
