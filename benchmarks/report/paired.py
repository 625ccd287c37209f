"""Times of several programs that take turns; on a shared machine only the ratios within a round are meaningful."""

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple


@dataclass(frozen=True)
class Ratio:
    """Median and quartiles of the ratio of two times over many rounds."""

    median: float
    lower_quartile: float
    upper_quartile: float


class TurnTime(NamedTuple):
    """The time of one turn; `core_seconds` is the processor time summed over cores."""

    seconds: float
    core_seconds: float


def timed(call: Callable[[], object]) -> TurnTime:
    """Measure a call within this process."""
    began, busy = time.perf_counter(), time.process_time()
    call()
    return TurnTime(time.perf_counter() - began, time.process_time() - busy)


def take_turns(competitors: Sequence[Callable[[], TurnTime]], rounds: int) -> list[list[TurnTime]]:
    """The times of each program in each round; the order is reversed in every second round."""
    turns: list[list[TurnTime]] = [[] for _ in competitors]
    for number in range(rounds):
        order = list(range(len(competitors)))
        for index in order if number % 2 == 0 else reversed(order):
            turns[index].append(competitors[index]())
    return turns


def seconds_by_round(competitors: Sequence[Callable[[], object]], rounds: int) -> list[list[float]]:
    """The seconds of each call in each round; the order is reversed in every second round."""
    turns = take_turns([_timing(competitor) for competitor in competitors], rounds)
    return [[turn.seconds for turn in of_one] for of_one in turns]


def ratio(numerator: Sequence[float], denominator: Sequence[float]) -> Ratio:
    """Median and quartiles of the ratios of the rounds."""
    return spread([a / b for a, b in zip(numerator, denominator, strict=True)])


def spread(values: Sequence[float]) -> Ratio:
    """Median and quartiles of the values; a single value is its own median and quartiles."""
    if len(values) == 1:
        return Ratio(values[0], values[0], values[0])
    # Inclusive: the quartiles lie within the measured values, even for few rounds.
    lower, median, upper = statistics.quantiles(values, n=4, method="inclusive")
    return Ratio(median, lower, upper)


def _timing(call: Callable[[], object]) -> Callable[[], TurnTime]:
    return lambda: timed(call)
