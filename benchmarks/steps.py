"""Steady state of a training step: gradflow with every variable's gradient norm, without any, and `model.fit`."""

import statistics
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any

from benchmarks.paired import Ratio, ratio, rounds_of
from service.contract.data_shape import shape_of
from service.contract.plan import Plan, plan
from service.contract.spec import ExperimentSpec
from worker.training.data import load
from worker.training.engine import Chunk, TrainingRun
from worker.training.models import build

Json = dict[str, Any]

EPOCHS_A_ROUND = 10
FIT_EPOCHS_A_ROUND = 2
STEPS_AN_EPOCH = 25
ROUNDS = 40
PAIRS = 200  # of recording and not recording, whose difference is smaller than the noise of a round
NEVER = 1_000_000 // STEPS_AN_EPOCH  # epochs: more than are asked for, and so many that XLA pays


@dataclass(frozen=True)
class StepTimes:
    """Medians in microseconds a step, and the two ratios of the performance page's targets 1 and 3."""

    model: str
    fit_us: float
    recorded_us: float
    unrecorded_us: float
    recorded_to_fit: Ratio
    recorded_to_unrecorded: Ratio


def preset(model: str, *, training: Json | None = None, recording: Json | None = None) -> Plan:
    """A preset on 800 random rows, batch 32, Adam, no validation: 25 whole batches an epoch for everybody."""
    spec = ExperimentSpec.model_validate(
        {
            "model": model,
            "data": {"source": "random", "samples": 32 * STEPS_AN_EPOCH},
            "training": {"epochs": NEVER, "validation_split": 0.0, **(training or {})},
            "recording": recording or {},
        }
    ).resolved()
    return plan(spec, shape_of(spec.data))


def measure(model: str) -> StepTimes:
    """Steps of a preset with every norm, without any, and those of `model.fit`."""
    planned = preset(model)
    fit, recorded, unrecorded = (
        _fit(planned),
        long_run(planned),
        long_run(planned, record=False),
    )
    for rival in (fit, recorded, unrecorded):
        rival()  # traced, compiled and warm
    fit_us, beside_fit_us = _microseconds(rounds_of([fit, recorded], ROUNDS), (FIT_EPOCHS_A_ROUND, EPOCHS_A_ROUND))
    recorded_us, unrecorded_us = _microseconds(
        rounds_of([recorded, unrecorded], PAIRS), (EPOCHS_A_ROUND, EPOCHS_A_ROUND)
    )
    return StepTimes(
        model,
        statistics.median(fit_us),
        statistics.median(recorded_us),
        statistics.median(unrecorded_us),
        ratio(beside_fit_us, fit_us),
        ratio(recorded_us, unrecorded_us),
    )


def _microseconds(seconds: list[list[float]], epochs: tuple[int, ...]) -> list[list[float]]:
    """Seconds of each rival's rounds as microseconds a step."""
    return [
        [1e6 * second / (count * STEPS_AN_EPOCH) for second in rounds]
        for rounds, count in zip(seconds, epochs, strict=True)
    ]


def _fit(planned: Plan) -> Callable[[], object]:
    model, data = build(planned), load(planned)
    model.compile("adam", "binary_crossentropy", metrics=["accuracy"])
    return lambda: model.fit(data.x_train, data.y_train, epochs=FIT_EPOCHS_A_ROUND, batch_size=32, verbose=0)


def long_run(planned: Plan, *, record: bool = True) -> Callable[[], object]:
    """A run of which each call makes EPOCHS_A_ROUND epochs."""
    run = TrainingRun(planned, load(planned), record=record)
    run.compile()
    epochs = _epochs(run.chunks())
    return lambda: list(islice(epochs, EPOCHS_A_ROUND))


def _epochs(chunks: Iterator[Chunk]) -> Iterator[int]:
    """The number of the last step of each epoch, as it ends."""
    return (chunk.stop for chunk in chunks if chunk.epoch_metrics is not None)
