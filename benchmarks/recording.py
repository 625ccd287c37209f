"""What each further statistic costs a step, beside gradient norms alone."""

from dataclasses import dataclass

from benchmarks.paired import Ratio, ratio, rounds_of
from benchmarks.steps import long_run, preset
from service.contract.recording_spec import Statistic

ROUNDS = 60
CLIPPED = {"gradient_clipping": {"by": "norm", "threshold": 1.0}}


@dataclass(frozen=True)
class Cost:
    """Time of a step with this recorded, over that with gradient norms alone."""

    recorded: str
    beside_norms_alone: Ratio


def costs(model: str) -> list[Cost]:
    """Of each statistic by itself, of all together, and of all at every tenth step."""
    alone = long_run(preset(model))
    alone()
    singles = [s for s in Statistic if s.stored and s not in (Statistic.GRADIENT_NORM, Statistic.CLIPPED_NORM)]
    every = [s.value for s in singles]
    cases: dict[str, dict[str, object]] = {f"`{s}`": {"statistics": [s.value]} for s in singles}
    cases |= {"all of these": {"statistics": every}, "all of these, `every: 10`": {"statistics": every, "every": 10}}
    found = []
    for name, recording in cases.items():
        more = long_run(preset(model, recording=recording))
        more()  # traced, compiled and warm
        with_more, without = rounds_of([more, alone], ROUNDS)
        found.append(Cost(name, ratio(with_more, without)))
    clipping = long_run(preset(model, training=CLIPPED))
    clipping()
    clipped, without = rounds_of([clipping, alone], ROUNDS)
    return [*found, Cost("clipping by norm, with `clipped_norm`", ratio(clipped, without))]
