"""The cost of each further statistic per step, compared with gradient norms alone."""

from benchmarks.engine.steps import MODELS, long_run, preset
from benchmarks.report.page import Part, format_ratio, table
from benchmarks.report.paired import Ratio, ratio, take_turns
from service.contract.recording_spec import Statistic

ROUNDS = 30
CLIPPED = {"gradient_clipping": {"by": "norm", "threshold": 1.0}}


def measure() -> Part:
    """Measure both presets."""
    found = [_costs(model) for model in MODELS]
    rows = [[name, *(format_ratio(costs[name]) for costs in found)] for name in found[0]]
    header = ("recorded in addition to gradient norms", *MODELS)
    return Part([], f"{ROUNDS} rounds in turns.\n\n{table(header, rows)}")


def _costs(model: str) -> dict[str, Ratio]:
    """Measure each statistic alone, all together, all at every tenth step, and clipping."""
    singles = [s for s in Statistic if s.stored and s not in (Statistic.GRADIENT_NORM, Statistic.CLIPPED_NORM)]
    every = [s.value for s in singles]
    cases: dict[str, dict[str, object]] = {f"`{s}`": {"recording": {"statistics": [s.value]}} for s in singles}
    cases["all of these"] = {"recording": {"statistics": every}}
    cases["all of these, `every: 10`"] = {"recording": {"statistics": every, "every": 10}}
    cases["clipping by norm, with `clipped_norm`"] = {"training": CLIPPED}
    alone = long_run(preset(model))
    found = {}
    for name, parts in cases.items():
        more = long_run(preset(model, **parts))  # type: ignore[arg-type]
        take_turns([more, alone], 1)  # compiles and warms up
        with_more, without = take_turns([more, alone], ROUNDS)
        found[name] = ratio([turn.seconds for turn in with_more], [turn.seconds for turn in without])
    return found
