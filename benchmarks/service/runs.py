"""The time from POST to succeeded over HTTP with one trainer, compared with Keras in a warm process."""

import statistics
from collections.abc import Sequence
from typing import Any

from benchmarks.peers.peer import Peer
from benchmarks.report.page import Part, format_ratio, table
from benchmarks.report.paired import Ratio, ratio
from benchmarks.report.targets import Result
from benchmarks.service.warm_stack import WarmStack, warm_stack

MODELS = ("baseline", "improved")
DEPTH = 11
WIDTHS = (64, 63, 65, 62, 66, 61)  # one per round, so that the network of each round is new to the trainer
FIT, FIT_AGAIN, UNSEEN = "build, compile, `model.fit`", "`model.fit` again, nothing built or compiled", "new"
SEEN: dict[str, dict[str, Any]] = {
    "known, other seed": {"training": {"seed": 1}},
    "known, other learning rate": {"training": {"optimizer": {"name": "adam", "learning_rate": 0.003}}},
    "known, other data": {"data": {"source": "random", "seed": 5}},
}


def measure() -> Part:
    """Measure both presets with their defaults: 5 epochs of 800 samples, validated on 200."""
    with warm_stack(trainers=1) as stack:
        found = {model: _rounds(stack, model) for model in MODELS}
    results = [Result("4", model, _to_fit(found[model], UNSEEN)) for model in MODELS]
    for model in MODELS:
        slowest = max(SEEN, key=lambda case: _to_fit(found[model], case).median)
        results.append(Result("5", f"{model}, {slowest.removeprefix('known, ')}", _to_fit(found[model], slowest)))
    header = ("model", "what", "seconds", "relative to build, compile, `model.fit`")
    rows = [
        [model, case, f"{statistics.median(seconds):.2f}", format_ratio(_to_fit(found[model], case))]
        for model in MODELS
        for case, seconds in found[model].items()
    ]
    return Part(results, f"{len(WIDTHS)} rounds in turns.\n\n{table(header, rows)}")


def _rounds(stack: WarmStack, model: str) -> dict[str, list[float]]:
    """Seconds of each case in each round."""
    found: dict[str, list[float]] = {case: [] for case in (FIT, FIT_AGAIN, UNSEEN, *SEEN)}
    with Peer("keras_fit", model) as keras:
        for number, width in enumerate(WIDTHS):
            network = {"kind": model, "depth": DEPTH, "width": width}
            if number % 2 == 0:
                _keras(keras, network, found)
            found[UNSEEN].append(stack.train({"model": network})[0])
            for case, parts in SEEN.items():
                found[case].append(stack.train({"model": network, **parts})[0])
            if number % 2 == 1:
                _keras(keras, network, found)
    return found


def _keras(keras: Peer, network: dict[str, Any], found: dict[str, list[float]]) -> None:
    found[FIT].append(keras.ask(new=network)["seconds"])
    found[FIT_AGAIN].append(keras.ask(again=True)["seconds"])


def _to_fit(found: dict[str, list[float]], case: str) -> Ratio:
    seconds: Sequence[float] = found[case]
    return ratio(seconds, found[FIT])
