"""What a diagnosis rests on, read from the store."""

import numpy as np

from service.analysis.diagnosis import Evidence
from service.analysis.stored_history import Floats, StoredFirstBatch, first_batch, series, table
from service.analysis.theory import Prediction
from service.application.reading import blocks, recorded_steps
from service.contract.history_format import EPOCHS, FIRST_BATCH, STEP_LOSS, bytes_a_value, value_format
from service.contract.plan import Plan
from service.contract.record import ExperimentRecord
from service.contract.recording_spec import Statistic
from service.store.experiments import Experiments

MOST_VALUES = 2**23  # looked at by one diagnosis: of what is more, every so many-th recorded step


def evidence_of(store: Experiments, record: ExperimentRecord, planned: Plan, prediction: Prediction | None) -> Evidence:
    """All that a run has recorded so far, the same steps of every statistic.

    Raises:
        NotFound: it is not there any more.
    """
    precision, names = planned.spec.training.precision, planned.objective.epoch_metrics
    size, values = bytes_a_value(precision), value_format(precision)
    rows = min((recorded_steps(store, record.id, planned, s, 0, None) for s in planned.recorded), key=len)
    columns = sum(len(planned.rows_of(statistic)) for statistic in planned.recorded)
    stride = max(1, -(-len(rows) * columns // MOST_VALUES))
    return Evidence(
        planned,
        np.array(rows[::stride], np.int64) * planned.spec.recording.every,
        {statistic: _values(store, record.id, planned, statistic, rows, stride) for statistic in planned.recorded},
        series(store.series(record.id, STEP_LOSS, size), values),
        table(store.series(record.id, EPOCHS, size * len(names)), names, values),
        record.outcome.diverged_at_step,
        prediction,
    )


def first_batch_of(store: Experiments, experiment_id: str, planned: Plan) -> StoredFirstBatch | None:
    """The first batch of a run, if it is kept, there, and finite."""
    kept = planned.first_batch_bytes
    return first_batch(store.series(experiment_id, FIRST_BATCH, kept), planned) if kept else None


def _values(
    store: Experiments, experiment_id: str, planned: Plan, statistic: Statistic, rows: range, stride: int
) -> Floats:
    """[rows of the statistic, steps]: every `stride`-th of these recorded steps, the first one first."""
    stored, precision = planned.rows_of(statistic), planned.spec.training.precision
    found: Floats = np.empty((len(stored), len(rows[::stride])), value_format(precision))
    first = filled = 0
    for block in blocks(store, experiment_id, planned, statistic, rows):
        chosen = block.values[:, -first % stride :: stride]
        found[:, filled : filled + chosen.shape[1]] = chosen
        first, filled = first + len(block.steps), filled + chosen.shape[1]
    return found
