"""Histories with a NaN, as a worker would write them."""

import numpy as np

from service.contract.plan import Plan
from service.contract.recording_spec import Statistic
from service.store.experiments import Experiments
from tests.support.served_api import Rows, counted, write


def nan_in_the_middle(planned: Plan, statistic: Statistic, rows: int) -> Rows:
    values = counted(rows, len(planned.rows_of(statistic)))
    values[rows // 2, 0] = np.nan
    return values


EPOCH = np.array([[0.5, 0.75, np.nan, np.nan]])


def write_with_nan(store: Experiments, experiment_id: str, steps: int) -> int:
    return write(store, experiment_id, steps, make=nan_in_the_middle, epochs=EPOCH, outcome={"loss": 0.5})
