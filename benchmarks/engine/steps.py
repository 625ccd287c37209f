"""Steady state of a training step that records every norm, beside everybody who makes the same step."""

import statistics
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial

from benchmarks.peers.peer import NotInstalled
from benchmarks.peers.rivals import RIVALS, Rival, difference_of_jax, gradflow
from benchmarks.report.page import Part, in_words, table
from benchmarks.report.paired import Lap, Ratio, ratio, turns
from benchmarks.report.targets import Result
from service.contract.data_shape import shape_of
from service.contract.plan import Plan, plan
from service.contract.spec import ExperimentSpec

MODELS = ("baseline", "improved")
STEPS_AN_EPOCH, STEPS_A_LONG_EPOCH = 25, 500  # of the preset's default data, and where an epoch costs next to nothing
EPOCHS_A_ROUND = 10
MOST_STEPS = 1_000_000  # of an experiment: more than are asked for, and so many that XLA pays
SAME = 1e-9  # relative, in float64: what another order of summation may make of an epoch, and no more


@dataclass(frozen=True)
class Beside:
    """Gradflow's step with every norm beside a rival's."""

    model: str
    steps_an_epoch: int
    rival: Rival
    theirs: str = ""
    ours: str = ""
    ratio: Ratio | None = None
    missing: str = ""  # why there is none

    @property
    def case(self) -> str:
        """In words."""
        return f"{self.model}, epochs of {self.steps_an_epoch} steps"


def preset(
    model: str,
    *,
    training: dict[str, object] | None = None,
    recording: dict[str, object] | None = None,
    steps_an_epoch: int = STEPS_AN_EPOCH,
) -> Plan:
    """A preset on random rows, batch 32, Adam, no validation: whole batches for everybody."""
    spec = ExperimentSpec.model_validate(
        {
            "model": model,
            "data": {"source": "random", "samples": 32 * steps_an_epoch},
            "training": {"epochs": MOST_STEPS // steps_an_epoch, "validation_split": 0.0, **(training or {})},
            "recording": recording or {},
        }
    ).resolved()
    return plan(spec, shape_of(spec.data))


def long_run(planned: Plan) -> Callable[[], Lap]:
    """A run of which each call makes EPOCHS_A_ROUND epochs."""
    ours = gradflow(planned)
    return lambda: ours(EPOCHS_A_ROUND)


def measure() -> Part:
    """Both presets beside every rival."""
    same_work = _same_work()
    rows = [row for model in MODELS for row in _beside_everybody(model)]
    header = ("model", "steps an epoch", "beside", "its step", "gradflow's step, every norm", "ratio", "rounds")
    results = [
        Result(row.rival.target, row.case, row.ratio or f"not measured: {row.missing}")
        for row in sorted(rows, key=lambda row: row.rival.target or "")
        if row.rival.target is not None
    ]
    return Part(results, f"{table(header, map(_cells, rows))}\n\n{same_work}")


def _beside_everybody(model: str) -> Iterator[Beside]:
    for steps_an_epoch, epochs in ((STEPS_AN_EPOCH, EPOCHS_A_ROUND), (STEPS_A_LONG_EPOCH, 1)):
        planned = preset(model, steps_an_epoch=steps_an_epoch)
        ours = gradflow(planned)
        for rival in RIVALS:
            if epochs == 1 and not rival.long_epochs:
                continue
            with ExitStack() as stack:
                try:
                    theirs = rival.begin(stack, planned, model)
                except NotInstalled as missing:
                    yield Beside(model, steps_an_epoch, rival, missing=str(missing))
                    continue
                both = (partial(theirs, epochs), partial(ours, epochs))
                turns(both, 1)  # traced, compiled and warm
                their_laps, our_laps = turns(both, rival.rounds)
            yield Beside(
                model,
                steps_an_epoch,
                rival,
                _times(their_laps, steps_an_epoch * epochs),
                _times(our_laps, steps_an_epoch * epochs),
                ratio([lap.seconds for lap in our_laps], [lap.seconds for lap in their_laps]),
            )


def _times(laps: Sequence[Lap], steps: int) -> str:
    """Medians of microseconds a step and of busy cores."""
    microseconds = 1e6 * statistics.median(lap.seconds for lap in laps) / steps
    cores = statistics.median(lap.core_seconds / lap.seconds for lap in laps)
    return f"{microseconds:,.0f} µs on {cores:.1f} cores"


def _cells(row: Beside) -> Sequence[str]:
    measured = in_words(row.ratio) if row.ratio else ""
    name, rounds = row.rival.name, str(row.rival.rounds if row.ratio else "")
    return row.model, str(row.steps_an_epoch), name, row.missing or row.theirs, row.ours, measured, rounds


def _same_work() -> str:
    """That JAX does the same work, as found just now."""
    try:
        largest = max(difference_of_jax(preset(m, training={"precision": "float64"}), m) for m in MODELS)
    except NotInstalled as missing:
        return f"That the peers do the same work was not checked in this run: {missing}."
    if largest > SAME:
        raise RuntimeError(f"JAX does something else: its figures differ by {largest} of their value")
    return (
        "Checked in this run: from the same weights, in float64, no loss and no norm of an epoch differs between JAX "
        f"and gradflow by more than {largest:.0e} of its value."
    )
