"""The time of a training step that records every norm, compared with other programs that make the same step."""

import statistics
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial

from benchmarks.peers.competitors import COMPETITORS, Competitor, difference_of_jax, gradflow
from benchmarks.peers.peer import NotInstalled
from benchmarks.report.page import Part, format_ratio, table
from benchmarks.report.paired import Ratio, TurnTime, ratio, take_turns
from benchmarks.report.targets import Result
from service.contract.data_shape import shape_of
from service.contract.plan import Plan, plan
from service.contract.spec import ExperimentSpec

MODELS = ("baseline", "improved")
STEPS_PER_EPOCH, STEPS_PER_LONG_EPOCH = (
    25,
    500,
)  # the preset's default data; and epochs so long that their overhead is negligible
EPOCHS_PER_ROUND = 10
MAX_STEPS = 1_000_000  # of an experiment: more than any round needs, and enough that the run is compiled with XLA
SAME = 1e-9  # relative, in float64: larger than the effect of another order of summation in one epoch


@dataclass(frozen=True)
class Comparison:
    """The step of gradflow with every norm, compared with the step of a competitor."""

    model: str
    steps_per_epoch: int
    competitor: Competitor
    theirs: str = ""
    ours: str = ""
    ratio: Ratio | None = None
    missing: str = ""  # why there is no ratio

    @property
    def case(self) -> str:
        """The case as the page names it."""
        return f"{self.model}, epochs of {self.steps_per_epoch} steps"


def preset(
    model: str,
    *,
    training: dict[str, object] | None = None,
    recording: dict[str, object] | None = None,
    steps_per_epoch: int = STEPS_PER_EPOCH,
) -> Plan:
    """The plan of a preset on random samples, with batch size 32, Adam and no validation; all batches are full."""
    spec = ExperimentSpec.model_validate(
        {
            "model": model,
            "data": {"source": "random", "samples": 32 * steps_per_epoch},
            "training": {"epochs": MAX_STEPS // steps_per_epoch, "validation_split": 0.0, **(training or {})},
            "recording": recording or {},
        }
    ).resolved()
    return plan(spec, shape_of(spec.data))


def long_run(planned: Plan) -> Callable[[], TurnTime]:
    """A run; each call trains it for EPOCHS_PER_ROUND more epochs."""
    ours = gradflow(planned)
    return lambda: ours(EPOCHS_PER_ROUND)


def measure() -> Part:
    """Compare both presets with every competitor."""
    same_work = _same_work()
    rows = [row for model in MODELS for row in _comparisons(model)]
    header = ("model", "steps per epoch", "compared with", "its step", "gradflow's step, every norm", "ratio", "rounds")
    results = [
        Result(row.competitor.target, row.case, row.ratio or f"not measured: {row.missing}")
        for row in sorted(rows, key=lambda row: row.competitor.target or "")
        if row.competitor.target is not None
    ]
    return Part(results, f"{table(header, map(_cells, rows))}\n\n{same_work}")


def _comparisons(model: str) -> Iterator[Comparison]:
    for steps_per_epoch, epochs in ((STEPS_PER_EPOCH, EPOCHS_PER_ROUND), (STEPS_PER_LONG_EPOCH, 1)):
        planned = preset(model, steps_per_epoch=steps_per_epoch)
        ours = gradflow(planned)
        for competitor in COMPETITORS:
            if epochs == 1 and not competitor.long_epochs:
                continue
            with ExitStack() as stack:
                try:
                    theirs = competitor.begin(stack, planned, model)
                except NotInstalled as missing:
                    yield Comparison(model, steps_per_epoch, competitor, missing=str(missing))
                    continue
                both = (partial(theirs, epochs), partial(ours, epochs))
                take_turns(both, 1)  # traces, compiles and warms up
                their_turns, our_turns = take_turns(both, competitor.rounds)
            yield Comparison(
                model,
                steps_per_epoch,
                competitor,
                _times(their_turns, steps_per_epoch * epochs),
                _times(our_turns, steps_per_epoch * epochs),
                ratio([turn.seconds for turn in our_turns], [turn.seconds for turn in their_turns]),
            )


def _times(turns: Sequence[TurnTime], steps: int) -> str:
    """Medians of the microseconds per step and of the busy cores."""
    microseconds = 1e6 * statistics.median(turn.seconds for turn in turns) / steps
    cores = statistics.median(turn.core_seconds / turn.seconds for turn in turns)
    return f"{microseconds:,.0f} µs on {cores:.1f} cores"


def _cells(row: Comparison) -> Sequence[str]:
    measured = format_ratio(row.ratio) if row.ratio else ""
    name, rounds = row.competitor.name, str(row.competitor.rounds if row.ratio else "")
    return row.model, str(row.steps_per_epoch), name, row.missing or row.theirs, row.ours, measured, rounds


def _same_work() -> str:
    """Check that JAX computes the same losses and norms, and return a sentence about it."""
    try:
        largest = max(difference_of_jax(preset(m, training={"precision": "float64"}), m) for m in MODELS)
    except NotInstalled as missing:
        return f"This run did not check that the peers do the same work: {missing}."
    if largest > SAME:
        raise RuntimeError(
            f"JAX computes something else: its losses or norms differ by {largest} relative to gradflow's"
        )
    return (
        "Checked in this run: from the same weights, in float64, no loss and no norm of an epoch differs between JAX "
        f"and gradflow by more than {largest:.0e} of its value."
    )
