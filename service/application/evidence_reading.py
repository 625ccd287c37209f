"""Reads the evidence of a diagnosis from the store."""

import numpy as np

from service.analysis.diagnosis import Evidence
from service.analysis.stored_history import Floats, StoredFirstBatch, first_batch, series, table
from service.analysis.theory import Prediction
from service.application.history_reading import blocks, recorded_steps
from service.contract.history_format import EPOCHS, FIRST_BATCH, STEP_LOSS, bytes_per_value, value_format
from service.contract.plan import Plan
from service.contract.recording_spec import Statistic
from service.store.experiment_handle import ExperimentHandle

MAX_VALUES = 2**23  # per diagnosis; a longer history is thinned to every n-th recorded step


def evidence_of(experiment: ExperimentHandle, planned: Plan, prediction: Prediction | None) -> Evidence:
    """Return what a run has recorded so far, with the same steps for every statistic.

    Raises:
        NotFound: The run was deleted while its history was read.
    """
    precision, names = planned.spec.training.precision, planned.objective.epoch_metrics
    size, values = bytes_per_value(precision), value_format(precision)
    rows = min((recorded_steps(experiment, planned, s, 0, None) for s in planned.recorded), key=len)
    columns = sum(len(planned.rows_of(statistic)) for statistic in planned.recorded)
    stride = max(1, -(-len(rows) * columns // MAX_VALUES))
    return Evidence(
        planned,
        np.array(rows[::stride], np.int64) * planned.spec.recording.every,
        {statistic: _values(experiment, planned, statistic, rows, stride) for statistic in planned.recorded},
        series(experiment.series(STEP_LOSS, size), values),
        table(experiment.series(EPOCHS, size * len(names)), names, values),
        experiment.record.outcome.diverged_at_step,
        prediction,
    )


def first_batch_of(experiment: ExperimentHandle, planned: Plan) -> StoredFirstBatch | None:
    """Return the first batch of a run; None if it is not stored, not recorded yet, or not finite."""
    size = planned.first_batch_bytes
    return first_batch(experiment.series(FIRST_BATCH, size), planned) if size else None


def _values(experiment: ExperimentHandle, planned: Plan, statistic: Statistic, rows: range, stride: int) -> Floats:
    """Return the values [variables, steps] of a statistic at every `stride`-th of these recorded steps."""
    variables, precision = planned.rows_of(statistic), planned.spec.training.precision
    found: Floats = np.empty((len(variables), len(rows[::stride])), value_format(precision))
    first = filled = 0
    for block in blocks(experiment, planned, statistic, rows):
        chosen = block.values[:, -first % stride :: stride]
        found[:, filled : filled + chosen.shape[1]] = chosen
        first, filled = first + len(block.steps), filled + chosen.shape[1]
    return found
