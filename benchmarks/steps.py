"""Steady state of a training step: gradflow with every variable's gradient norm, without any, and `model.fit`."""

import statistics
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice

from benchmarks.paired import Ratio, ratio, rounds_of
from service.contract.spec import ExperimentSpec
from worker.training.data import Data, load
from worker.training.engine import Chunk, TrainingRun
from worker.training.models import build

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


def measure(model: str) -> StepTimes:
    """A preset on 800 random rows, batch 32, Adam, no validation: 25 whole batches an epoch for everybody."""
    spec = ExperimentSpec.model_validate(
        {
            "model": model,
            "data": {"source": "random", "samples": 32 * STEPS_AN_EPOCH},
            "training": {"epochs": NEVER, "validation_split": 0.0},
        }
    ).resolved()
    data = load(spec)
    fit, recorded, unrecorded = (
        _fit(spec, data),
        _gradflow(spec, data, record=True),
        _gradflow(spec, data, record=False),
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


def _fit(spec: ExperimentSpec, data: Data) -> Callable[[], object]:
    model = build(spec.model, data.shape, spec.training.seed)
    model.compile("adam", "binary_crossentropy", metrics=["accuracy"])
    return lambda: model.fit(data.x_train, data.y_train, epochs=FIT_EPOCHS_A_ROUND, batch_size=32, verbose=0)


def _gradflow(spec: ExperimentSpec, data: Data, record: bool) -> Callable[[], object]:
    run = TrainingRun(spec, data, record=record)
    run.compile()
    epochs = _epochs(run.chunks())
    return lambda: list(islice(epochs, EPOCHS_A_ROUND))


def _epochs(chunks: Iterator[Chunk]) -> Iterator[int]:
    """The number of the last step of each epoch, as it ends."""
    return (chunk.stop for chunk in chunks if chunk.epoch_metrics is not None)
