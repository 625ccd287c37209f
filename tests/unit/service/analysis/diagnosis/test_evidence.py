"""What a diagnosis rests on."""

from dataclasses import replace

import numpy as np
import pytest

from service.analysis.diagnosis import Evidence
from service.contract.recording_spec import Statistic
from tests.support.made_evidence import plain, sound


def test_rows_are_those_of_the_roles_in_their_order() -> None:
    evidence = sound(plain(depth=2), steps=3)

    rows = evidence.rows(Statistic.GRADIENT_NORM, "bias")

    assert [v.name for v in rows.variables] == ["dense_0/bias", "dense_1/bias", "output/bias"]
    assert (rows.values == evidence.series[Statistic.GRADIENT_NORM][1::2]).all()
    assert rows.layers([False, True, True]) == ("dense_1", "output")


def test_steps_between_recorded_ones_are_said_as_the_last_one_before() -> None:
    evidence = replace(sound(plain(depth=1), steps=4), steps=np.arange(4) * 10)

    assert evidence.recorded(0, 29) == (0, 20)
    assert evidence.recorded(35, 900) == (30, 30)


@pytest.mark.parametrize(
    ("every", "epochs", "indices"),
    [(1, 2, [45, 89]), (10, 2, [5, 8]), (45, 2, [1, 1]), (1, 0, [])],  # 90 steps, 45 an epoch
)
def test_an_epoch_ends_in_the_first_step_recorded_after_it_or_the_last_one(
    every: int, epochs: int, indices: list[int]
) -> None:
    plan = plain(depth=1, epochs=2)
    steps = np.arange(0, 90, every)
    evidence = Evidence(plan, steps, {}, np.ones(90), {"loss": np.ones(epochs)})

    assert evidence.epoch_ends.tolist() == indices


def test_what_is_made_of_it_is_made_once() -> None:
    evidence, calls = sound(plain(depth=1), steps=3), []

    def make(given: Evidence) -> int:
        calls.append(given)
        return 7

    assert [evidence.once(make), evidence.once(make)] == [7, 7]
    assert calls == [evidence]
    assert replace(evidence).once(make) == 7  # of another evidence it is made anew
    assert len(calls) == 2
