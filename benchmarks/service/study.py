"""The time of studies over HTTP, compared with as many fits in one warm Keras process."""

import statistics
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from benchmarks.peers.peer import Peer
from benchmarks.report.page import Part, format_ratio, table
from benchmarks.report.paired import Ratio, ratio
from benchmarks.report.targets import Result
from benchmarks.service.warm_stack import WarmStack, warm_stack

MODELS = ("baseline", "improved")
POLL_EVERY_S = 0.1
SEEDS = 64
WIDTHS = (64, 63, 65, 62)  # one per round, so that the network of each round is new to the trainers
DEPTHS = (2, 5, 8, 11, 14)
RATES = (0.0003, 0.001, 0.003, 0.01)
REPLICATES = 8
CELLS, RUNS = len(MODELS) * len(DEPTHS) * len(RATES), len(MODELS) * len(DEPTHS) * len(RATES) * REPLICATES
STUDY_OF_320: dict[str, list[Any]] = {
    "model.kind": list(MODELS),
    "model.depth": list(DEPTHS),
    "training.optimizer.learning_rate": list(RATES),
    "training.seed": list(range(REPLICATES)),
}
ROUNDS_OF_320 = 2


def measure() -> Part:
    """Measure 64 seeds of each preset, and the study of 320 runs with two trainers and with one."""
    one_architecture = {model: _of_one_architecture(model) for model in MODELS}
    on_two, on_one, fits = _of_ten_architectures()
    to_fits, two_to_one = ratio(on_two, fits), ratio(on_two, on_one)
    results = [Result("7", model, ratio(study, fits_64)) for model, (study, fits_64) in one_architecture.items()]
    results += [Result("7a", f"{RUNS} runs", to_fits), Result("7b", f"{RUNS} runs", two_to_one)]
    rows = [
        _row(f"{SEEDS} seeds of {model}, two trainers", study, fits_64, ratio(study, fits_64))
        for model, (study, fits_64) in one_architecture.items()
    ]
    rows.append(_row(f"{RUNS} runs of {len(MODELS) * len(DEPTHS)} architectures, two trainers", on_two, fits, to_fits))
    rows.append(_row("the same, one trainer", on_one, fits, ratio(on_one, fits)))
    header = ("study", "seconds", "as many fits, seconds", "ratio", "rounds")
    return Part(results, table(header, rows))


def _row(name: str, study: Sequence[float], fits: Sequence[float], measured: Ratio) -> list[str]:
    seconds = [f"{statistics.median(times):,.1f}" for times in (study, fits)]
    return [name, *seconds, format_ratio(measured), str(len(study))]


def _of_one_architecture(model: str) -> tuple[list[float], list[float]]:
    """Seconds of the study in each round, and of 64 fits, estimated from one fit before and one after the study."""
    studies, fits = [], []
    with warm_stack(trainers=2) as stack, Peer("keras_fit", model) as keras:
        for width in WIDTHS:
            network = {"kind": model, "depth": 11, "width": width}
            before = _fit(keras, network)
            studies.append(time_of_study(stack, {"model": network}, {"training.seed": list(range(SEEDS))}, rows=1))
            fits.append(SEEDS * statistics.mean([before, _fit(keras, network)]))
    return studies, fits


def _of_ten_architectures() -> tuple[list[float], list[float], list[float]]:
    """Seconds in each round: on two trainers, on one trainer, and of 320 fits.

    The time of 320 fits is estimated from one fit of each architecture before and after the studies.
    """
    seconds: dict[int, list[float]] = {1: [], 2: []}
    fits: list[list[float]] = []
    with Peer("keras_fit", "baseline") as keras:
        fits.append(_one_of_each(keras))
        for number in range(ROUNDS_OF_320):
            for trainers in (1, 2) if number % 2 else (2, 1):
                with warm_stack(trainers) as stack:  # a new stack, which has compiled no architecture
                    base = {"model": {"kind": "baseline"}}
                    seconds[trainers].append(time_of_study(stack, base, STUDY_OF_320, rows=CELLS))
            fits.append(_one_of_each(keras))
    as_many = [RUNS * statistics.mean(before + after) for before, after in pairwise(fits)]
    return seconds[2], seconds[1], as_many


def time_of_study(stack: WarmStack, base: dict[str, Any], axes: dict[str, list[Any]], rows: int) -> float:
    """Seconds from POST until GET returns the status succeeded.

    Raises:
        RuntimeError: The table of the study does not have `rows` rows.
    """
    body = {"base": base, "axes": axes}
    seconds, study = stack.until("/v1/studies", body, lambda study: study["status"] == "succeeded", POLL_EVERY_S)
    if len(study["table"]) != rows:
        raise RuntimeError(f"the study's table has {len(study['table'])} rows, not {rows}")
    return seconds


def _one_of_each(keras: Peer) -> list[float]:
    return [_fit(keras, {"kind": model, "depth": depth, "width": 64}) for model in MODELS for depth in DEPTHS]


def _fit(keras: Peer, network: dict[str, Any]) -> float:
    seconds: float = keras.ask(new=network)["seconds"]
    return seconds
