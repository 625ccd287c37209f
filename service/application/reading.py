"""A stored statistic, block by block: a long history is never in memory as a whole unless somebody joins it."""

from collections.abc import Iterator

from service.analysis.stored_history import Gradients, unpacked
from service.contract.errors import NotFound
from service.contract.plan import Plan
from service.contract.recording_spec import Statistic
from service.store.experiments import Experiments

BLOCK_BYTES = 2**18  # as stored; ten megabytes while it becomes text


def recorded_steps(
    store: Experiments, experiment_id: str, planned: Plan, statistic: Statistic, start: int, stop: int | None
) -> range:
    """The recorded rows of a statistic that there are so far of the steps from `start` to `stop`, which is left out."""
    every = planned.spec.recording.every
    there = store.rows(experiment_id, statistic, planned.bytes_a_step(statistic))
    last = there if stop is None else min(there, -(-stop // every))
    return range(min(-(-start // every), last), last)


def blocks(
    store: Experiments, experiment_id: str, planned: Plan, statistic: Statistic, rows: range
) -> Iterator[Gradients]:
    """These rows in their order, one block at least.

    Raises:
        NotFound: they are not there any more.
    """
    row_bytes = planned.bytes_a_step(statistic)
    size = max(1, BLOCK_BYTES // row_bytes)
    for start in range(rows.start, max(rows.stop, rows.start + 1), size):
        stop = min(start + size, rows.stop)
        packed = store.series(experiment_id, statistic, row_bytes, start, stop)
        if len(packed) != (stop - start) * row_bytes:
            raise NotFound(f"experiment {experiment_id} was deleted or began anew while its history was read")
        yield unpacked(packed, planned, statistic, start)
