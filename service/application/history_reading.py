"""Reads a stored statistic block by block, so that a long history is never in memory as a whole."""

from collections.abc import Iterator

from service.analysis.stored_history import Gradients, unpacked
from service.contract.errors import NotFound
from service.contract.plan import Plan
from service.contract.recording_spec import Statistic
from service.store.experiment_handle import ExperimentHandle

BLOCK_BYTES = 2**18  # as stored; the JSON text of a block takes about ten megabytes


def recorded_steps(
    experiment: ExperimentHandle, planned: Plan, statistic: Statistic, start: int, stop: int | None
) -> range:
    """Return the positions in the series of a statistic that are stored so far.

    Args:
        experiment: The run.
        planned: The plan of the run.
        statistic: One of the plan's recorded statistics.
        start: The first optimizer step wanted.
        stop: The optimizer step after the last one wanted; None for all.
    """
    every = planned.spec.recording.every
    stored = experiment.rows(statistic, planned.bytes_per_step(statistic))
    last = stored if stop is None else min(stored, -(-stop // every))
    return range(min(-(-start // every), last), last)


def blocks(experiment: ExperimentHandle, planned: Plan, statistic: Statistic, rows: range) -> Iterator[Gradients]:
    """Yield the recorded steps at these positions in order, in at least one block, which may be empty.

    Raises:
        NotFound: The history was deleted or started again while it was read.
    """
    row_bytes = planned.bytes_per_step(statistic)
    size = max(1, BLOCK_BYTES // row_bytes)
    for start in range(rows.start, max(rows.stop, rows.start + 1), size):
        stop = min(start + size, rows.stop)
        packed = experiment.series(statistic, row_bytes, start, stop)
        if len(packed) != (stop - start) * row_bytes:
            raise NotFound(f"experiment {experiment.id} was deleted or started again while its history was read")
        yield unpacked(packed, planned, statistic, start)
