"""Times of rivals, taken in turns within one run: on a shared machine only their ratios mean something."""

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple


@dataclass(frozen=True)
class Ratio:
    """The ratio of two times over many rounds."""

    median: float
    lower_quartile: float
    upper_quartile: float


class Lap(NamedTuple):
    """What one turn took; `core_seconds` adds up the cores that worked on it."""

    seconds: float
    core_seconds: float


def timed(call: Callable[[], object]) -> Lap:
    """The time of a call within this process."""
    began, busy = time.perf_counter(), time.process_time()
    call()
    return Lap(time.perf_counter() - began, time.process_time() - busy)


def turns(rivals: Sequence[Callable[[], Lap]], rounds: int) -> list[list[Lap]]:
    """What each rival took in each round; who goes first changes from round to round."""
    laps: list[list[Lap]] = [[] for _ in rivals]
    for number in range(rounds):
        order = list(range(len(rivals)))
        for index in order if number % 2 == 0 else reversed(order):
            laps[index].append(rivals[index]())
    return laps


def rounds_of(rivals: Sequence[Callable[[], object]], rounds: int) -> list[list[float]]:
    """Seconds of each rival in each round; who goes first changes from round to round."""
    laps = turns([_timing(rival) for rival in rivals], rounds)
    return [[lap.seconds for lap in of_one] for of_one in laps]


def ratio(numerator: Sequence[float], denominator: Sequence[float]) -> Ratio:
    """Median and quartiles of the rounds' ratios."""
    return spread([a / b for a, b in zip(numerator, denominator, strict=True)])


def spread(values: Sequence[float]) -> Ratio:
    """Median and quartiles of the values themselves; of one value, that value."""
    if len(values) == 1:
        return Ratio(values[0], values[0], values[0])
    # Inclusive: never outside of what was measured, however few rounds there were.
    lower, median, upper = statistics.quantiles(values, n=4, method="inclusive")
    return Ratio(median, lower, upper)


def _timing(call: Callable[[], object]) -> Callable[[], Lap]:
    return lambda: timed(call)
