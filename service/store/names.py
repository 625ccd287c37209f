"""The name of every Redis key, spelled once: Python and the Lua scripts derive all names from this table.

What stands between `<` and `>` is a parameter. An id in braces is a hash tag.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass

TEMPLATES: Mapping[str, str] = {
    # One experiment.
    "record": "{<id>}:record",  # hash: what ExperimentRecord has and the spec does not say; the tenant
    "series": "{<id>}:<series>",  # string: packed (service.contract.history_format)
    "model": "{<id>}:model",  # string: the trained model as a .keras file
    "checkpoint": "{<id>}:checkpoint",  # hash: the state from which the next attempt continues
    "exact": "{<id>}:exact",  # string: a copy that exists only within a script
    # One study. Its runs are experiments.
    "study_hash": "{<study>}:study",  # hash: spec, warnings, created_at, cancel_requested, tenant
    # One data set.
    "dataset_hash": "{<dataset>}:dataset",  # hash: description, bytes, created_at, tenant
    "x": "{<dataset>}:x",  # string: inputs, sample by sample
    "y": "{<dataset>}:y",  # string: labels or regression targets
    "users": "{<dataset>}:users",  # set: experiments that have not ended and read it
    # Sorted sets of ids, all with score 0: ids sort by time. Each exists once for all and once for each tenant.
    "experiments": "experiments",
    "with_status": "experiments:status:<status>",
    "with_tag": "experiments:tag:<tag>",
    "of_study": "experiments:study:<study>",
    "studies": "studies",
    "datasets": "datasets",
    "of_tenant": "tenant:<tenant>:<index>",
    # The queue.
    "queued_singles": "queued",  # sorted set of queued experiments that belong to no study
    "queued_runs": "queued:<architecture>",  # sorted set of queued runs of studies
    "queued_architectures": "queued:architectures",  # sorted set, by the time since which a run of each waits
    "leases": "leases",  # sorted set of running experiments, by the time at which their leases end
    "ended": "ended",  # sorted set of ended experiments, by the time at which they ended
    "empty_studies": "studies:empty",  # sorted set of studies without runs, by the time of the last deletion
    "republished": "republished",  # string: the time until which the sweeper sends no messages again
    "trainers": "trainers:<schema>",  # sorted set of training processes, by the time until which they are known to live
    # Counters, requests, keys.
    "reserved": "reserved",  # string: bytes reserved for the histories of experiments that have not ended
    "datasets_bytes": "datasets:bytes",  # string: bytes of all data sets
    "request": "request:<request>",  # hash, for a day: digest of the body, id and hash of what the request created
    "keys": "keys",  # hash: SHA-256 of an API key, hexadecimal -> KeyHolder as JSON
    "bucket": "keys:{<digest>}:full_at",  # string: when the key's bucket of requests is full again
    # The schema.
    "schema": "schema",  # string: the version of this table (service.store.schema)
    "migration": "migration",  # string: the token of the process that migrates
}

_PARAMETER = re.compile(r"<(\w+)>")


@dataclass(frozen=True)
class Names:
    """The names of keys under one prefix."""

    prefix: str = "gradflow"

    def __call__(self, name: str, *values: str | int) -> str:
        """The key of this name; `values` stand for its parameters in their order."""
        parts = iter(values)
        return f"{self.prefix}:" + _PARAMETER.sub(lambda _: str(next(parts)), TEMPLATES[name])

    def of_tenant(self, tenant: str, index: str) -> str:
        """A tenant's part of the index whose key is `index`."""
        return self("of_tenant", tenant, index.removeprefix(f"{self.prefix}:"))

    def lua(self, name: str) -> str:
        """A Lua function of the parameters, or a Lua string where there are none."""
        text = f"{self.prefix}:{TEMPLATES[name]}"
        parameters = parameters_of(name)
        if not parameters:
            return f"'{text}'"
        joined = _PARAMETER.sub(lambda found: f"' .. {found[1]} .. '", text)
        return f"function({', '.join(parameters)}) return '{joined}' end".replace(" .. ''", "")


def parameters_of(name: str) -> tuple[str, ...]:
    """The parameters of a key, in their order."""
    return tuple(_PARAMETER.findall(TEMPLATES[name]))
