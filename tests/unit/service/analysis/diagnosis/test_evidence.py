"""The evidence of a diagnosis."""

from dataclasses import replace

import numpy as np
import pytest

from service.analysis.diagnosis import Evidence
from service.contract.recording_spec import Statistic
from tests.support.made_evidence import plain, sound


def test_rows_are_chosen_by_role_and_keep_their_order() -> None:
    evidence = sound(plain(depth=2), steps=3)

    rows = evidence.rows(Statistic.GRADIENT_NORM, "bias")

    assert [v.name for v in rows.variables] == ["dense_0/bias", "dense_1/bias", "output/bias"]
    assert (rows.values == evidence.series[Statistic.GRADIENT_NORM][1::2]).all()
    assert rows.layers([False, True, True]) == ("dense_1", "output")


def test_a_step_that_was_not_recorded_becomes_the_last_recorded_one_before_it() -> None:
    evidence = replace(sound(plain(depth=1), steps=4), steps=np.arange(4) * 10)

    assert evidence.recorded_span(0, 29) == (0, 20)
    assert evidence.recorded_span(35, 900) == (30, 30)


@pytest.mark.parametrize(
    ("every", "epochs", "indices"),
    [(1, 2, [45, 89]), (10, 2, [5, 8]), (45, 2, [1, 1]), (1, 0, [])],  # 90 steps, 45 per epoch
)
def test_an_epoch_ends_at_the_first_step_recorded_after_it_or_at_the_last_one(
    every: int, epochs: int, indices: list[int]
) -> None:
    plan = plain(depth=1, epochs=2)
    steps = np.arange(0, 90, every)
    evidence = Evidence(plan, steps, {}, np.ones(90), {"loss": np.ones(epochs)})

    assert evidence.epoch_ends.tolist() == indices


def test_a_derived_value_is_computed_once_per_evidence() -> None:
    evidence, calls = sound(plain(depth=1), steps=3), []

    def derive(evidence: Evidence) -> int:
        calls.append(evidence)
        return 7

    assert [evidence.once(derive), evidence.once(derive)] == [7, 7]
    assert calls == [evidence]
    assert replace(evidence).once(derive) == 7  # another evidence computes it again
    assert len(calls) == 2
