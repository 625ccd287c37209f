"""Taking turns, and what the rounds come to."""

import pytest

from benchmarks.report.paired import Lap, Ratio, ratio, rounds_of, spread, timed, turns


def test_everybody_goes_once_a_round_and_who_goes_first_changes() -> None:
    went: list[str] = []

    def rival(name: str, seconds: float) -> Lap:
        went.append(name)
        return Lap(seconds, seconds)

    laps = turns([lambda: rival("a", 1.0), lambda: rival("b", 2.0)], 3)

    assert went == ["a", "b", "b", "a", "a", "b"]
    assert [[lap.seconds for lap in of_one] for of_one in laps] == [[1.0] * 3, [2.0] * 3]


def test_seconds_of_calls_are_theirs_alone() -> None:
    first, second = rounds_of([lambda: None, lambda: sum(range(200_000))], rounds=3)

    assert len(first) == len(second) == 3
    assert min(second) > max(0.0, min(first))


def test_a_lap_counts_the_cores_that_worked() -> None:
    lap = timed(lambda: sum(range(300_000)))

    assert lap.seconds > 0
    assert lap.core_seconds > 0


def test_a_ratio_is_of_each_round_by_itself() -> None:
    # The second round is ten times slower for everybody: that is the machine.
    assert ratio([1.0, 10.0, 2.0], [2.0, 20.0, 4.0]) == Ratio(0.5, 0.5, 0.5)


def test_quartiles_lie_within_what_was_measured() -> None:
    assert spread([1.0, 2.0]) == Ratio(1.5, 1.25, 1.75)
    assert spread([5.0, 1.0, 4.0, 2.0, 3.0]) == Ratio(3.0, 2.0, 4.0)
    assert spread([7.0]) == Ratio(7.0, 7.0, 7.0)


def test_rounds_that_do_not_pair_are_refused() -> None:
    with pytest.raises(ValueError, match="zip"):
        ratio([1.0, 2.0], [1.0])
