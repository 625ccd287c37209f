"""Times of rivals, taken in turns within one run: on a shared machine only their ratios mean something."""

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Ratio:
    """The ratio of two times over many rounds."""

    median: float
    lower_quartile: float
    upper_quartile: float


def rounds_of(rivals: Sequence[Callable[[], object]], rounds: int) -> list[list[float]]:
    """Seconds of each rival in each round; who goes first changes from round to round."""
    seconds: list[list[float]] = [[] for _ in rivals]
    for number in range(rounds):
        order = list(range(len(rivals)))
        for index in order if number % 2 == 0 else reversed(order):
            began = time.perf_counter()
            rivals[index]()
            seconds[index].append(time.perf_counter() - began)
    return seconds


def ratio(numerator: Sequence[float], denominator: Sequence[float]) -> Ratio:
    """Median and quartiles of the rounds' ratios."""
    ratios = [a / b for a, b in zip(numerator, denominator, strict=True)]
    lower, median, upper = statistics.quantiles(ratios, n=4)
    return Ratio(median, lower, upper)
