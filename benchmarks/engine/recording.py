"""What each further statistic costs a step, beside gradient norms alone."""

from benchmarks.engine.steps import MODELS, long_run, preset
from benchmarks.report.page import Part, in_words, table
from benchmarks.report.paired import Ratio, ratio, turns
from service.contract.recording_spec import Statistic

ROUNDS = 30
CLIPPED = {"gradient_clipping": {"by": "norm", "threshold": 1.0}}


def measure() -> Part:
    """Both presets."""
    found = [_costs(model) for model in MODELS]
    rows = [[name, *(in_words(costs[name]) for costs in found)] for name in found[0]]
    header = ("recorded beside gradient norms", *MODELS)
    return Part([], f"{ROUNDS} rounds in turns.\n\n{table(header, rows)}")


def _costs(model: str) -> dict[str, Ratio]:
    """Of each statistic by itself, of all together, of all at every tenth step, and of clipping."""
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
        turns([more, alone], 1)  # warm
        with_more, without = turns([more, alone], ROUNDS)
        found[name] = ratio([lap.seconds for lap in with_more], [lap.seconds for lap in without])
    return found
