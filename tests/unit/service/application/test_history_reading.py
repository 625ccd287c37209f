"""A stored statistic is read block by block."""

import numpy as np
import pytest

from service.application import history_reading
from service.application.history_reading import blocks, recorded_steps
from service.contract.errors import NotFound
from service.contract.plan import Plan
from service.contract.recording_spec import Statistic
from service.store.experiment_handle import ExperimentHandle
from tests.support.plans import plan_of

NORM = Statistic.GRADIENT_NORM
PLANNED = plan_of(model={"kind": "baseline", "depth": 1})
COLUMNS = len(PLANNED.variables)
ROW = 4 * COLUMNS


class OneSeries(ExperimentHandle):
    """An experiment with one series that counts the reads."""

    def __init__(self, rows: int) -> None:
        self.id = "id"
        self.packed = np.arange(rows * COLUMNS, dtype="<f4").tobytes()
        self.reads = 0

    def rows(self, name: str, row_bytes: int) -> int:
        assert name == NORM
        return len(self.packed) // row_bytes

    def series(self, name: str, row_bytes: int, start: int = 0, stop: int | None = None) -> bytes:
        assert name == NORM
        self.reads += 1
        return self.packed[start * row_bytes : None if stop is None else stop * row_bytes]


@pytest.fixture(autouse=True)
def ten_rows_per_block(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(history_reading, "BLOCK_BYTES", 10 * ROW + 1)


def _steps(experiment: ExperimentHandle, start: int, stop: int | None, planned: Plan = PLANNED) -> list[list[int]]:
    rows = recorded_steps(experiment, planned, NORM, start, stop)
    return [block.steps.tolist() for block in blocks(experiment, planned, NORM, rows)]


def test_blocks_contain_the_steps_in_order() -> None:
    experiment = OneSeries(25)

    assert _steps(experiment, 0, None) == [[*range(10)], [*range(10, 20)], [*range(20, 25)]]
    assert _steps(experiment, 7, 19) == [[*range(7, 17)], [17, 18]]
    [block] = blocks(experiment, PLANNED, NORM, range(3, 5))
    assert block.values.tolist() == [[3 * COLUMNS + i, 4 * COLUMNS + i] for i in range(COLUMNS)]


def test_there_is_one_empty_block_where_there_is_no_step() -> None:
    for start, stop in ((0, None), (5, None), (0, 0), (2, 1)):
        assert _steps(OneSeries(0), start, stop) == [[]]
    for start, stop in ((25, None), (2**40, None), (7, 7), (9, 3), (30, 40)):
        assert _steps(OneSeries(25), start, stop) == [[]]


def test_start_and_stop_are_optimizer_steps_also_where_only_some_were_recorded() -> None:
    sparse = plan_of(model={"kind": "baseline", "depth": 1}, recording={"every": 7})

    assert _steps(OneSeries(5), 8, 22, sparse) == [[14, 21]]
    assert _steps(OneSeries(5), 0, 1, sparse) == [[0]]
    assert _steps(OneSeries(5), 29, None, sparse) == [[]]


def test_a_block_is_read_only_when_it_is_needed() -> None:
    experiment = OneSeries(1000)
    some = blocks(experiment, PLANNED, NORM, range(1000))

    next(some)

    assert experiment.reads == 1


def test_steps_that_disappear_raise_an_error_instead_of_ending_the_history() -> None:
    experiment = OneSeries(25)
    some = blocks(experiment, PLANNED, NORM, range(25))
    next(some)
    experiment.packed = experiment.packed[: 15 * ROW]

    with pytest.raises(NotFound, match="while its history was read"):
        next(some)
