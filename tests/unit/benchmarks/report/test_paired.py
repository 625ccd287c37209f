"""Programs take turns, and each round gives one ratio."""

import time

import pytest

from benchmarks.report.paired import Ratio, TurnTime, ratio, seconds_by_round, spread, take_turns, timed


def test_each_program_has_one_turn_per_round_and_the_order_alternates() -> None:
    went: list[str] = []

    def competitor(name: str, seconds: float) -> TurnTime:
        went.append(name)
        return TurnTime(seconds, seconds)

    turns = take_turns([lambda: competitor("a", 1.0), lambda: competitor("b", 2.0)], 3)

    assert went == ["a", "b", "b", "a", "a", "b"]
    assert [[turn.seconds for turn in of_one] for of_one in turns] == [[1.0] * 3, [2.0] * 3]


def test_the_time_of_each_call_is_measured_separately() -> None:
    first, second = seconds_by_round([lambda: None, lambda: sum(range(200_000))], rounds=3)

    assert len(first) == len(second) == 3
    assert min(second) > max(0.0, min(first))


def test_waiting_counts_as_time_but_not_as_processor_time() -> None:
    waited, worked = timed(lambda: time.sleep(0.05)), timed(lambda: sum(range(300_000)))

    assert waited.seconds >= 0.05
    assert waited.core_seconds < 0.02
    assert worked.core_seconds > 0


def test_each_round_gives_its_own_ratio() -> None:
    # The second round is ten times slower for both programs, as on a busy machine.
    assert ratio([1.0, 10.0, 2.0], [2.0, 20.0, 4.0]) == Ratio(0.5, 0.5, 0.5)


def test_quartiles_lie_within_the_measured_values() -> None:
    assert spread([1.0, 2.0]) == Ratio(1.5, 1.25, 1.75)
    assert spread([5.0, 1.0, 4.0, 2.0, 3.0]) == Ratio(3.0, 2.0, 4.0)
    assert spread([7.0]) == Ratio(7.0, 7.0, 7.0)


def test_unequal_numbers_of_rounds_are_refused() -> None:
    with pytest.raises(ValueError, match="zip"):
        ratio([1.0, 2.0], [1.0])
