"""The time from POST to the first stored step over HTTP, for two depths."""

import statistics

from benchmarks.report.page import Part, format_ratio, table
from benchmarks.report.paired import ratio, seconds_by_round
from benchmarks.report.targets import Result
from benchmarks.service.warm_stack import WarmStack, warm_stack

MODELS = ("baseline", "improved")
SHALLOW, DEEP = 10, 100
WIDTHS = (64, 63, 65, 62, 66)  # one per round, so that the networks of each round are new to the trainer


def measure() -> Part:
    """Measure both presets."""
    with warm_stack(trainers=1) as stack:
        found = {model: _seconds(stack, model) for model in MODELS}
    results = [Result("6", model, ratio(deep, shallow)) for model, (shallow, deep) in found.items()]
    header = ("model", f"depth {SHALLOW}, seconds", f"depth {DEEP}, seconds", "ratio")
    rows = [
        [
            model,
            f"{statistics.median(shallow):.2f}",
            f"{statistics.median(deep):.2f}",
            format_ratio(ratio(deep, shallow)),
        ]
        for model, (shallow, deep) in found.items()
    ]
    return Part(results, f"{len(WIDTHS)} rounds in turns.\n\n{table(header, rows)}")


def _seconds(stack: WarmStack, model: str) -> list[list[float]]:
    def wait(depth: int) -> None:
        width = WIDTHS[rounds[depth]]
        rounds[depth] += 1
        stack.until_first_step({"model": {"kind": model, "depth": depth, "width": width}})

    rounds = {SHALLOW: 0, DEEP: 0}
    return seconds_by_round([lambda: wait(SHALLOW), lambda: wait(DEEP)], len(WIDTHS))
