"""Learning rates equal those of Keras's schedules at every step."""

from collections.abc import Callable

import keras
import numpy as np
import pytest
import tensorflow as tf
from pydantic import TypeAdapter

from service.contract.training_spec import ScheduleSpec
from worker.training.schedules import BLOCK_STEPS, Schedule

SPEC: TypeAdapter[ScheduleSpec] = TypeAdapter(ScheduleSpec)
RATE = 0.1
SCHEDULES = [
    {"name": "ExponentialDecay", "decay_steps": 7, "decay_rate": 0.9},
    {"name": "ExponentialDecay", "decay_steps": 7, "decay_rate": 0.9, "staircase": True},
    {"name": "PiecewiseConstantDecay", "boundaries": [3, 9], "values": [0.5, 0.05, 0.0]},
    {"name": "PiecewiseConstantDecay", "boundaries": [2, 2**40], "values": [0.1, 0.3, 0.2]},
    {"name": "PolynomialDecay", "decay_steps": 9},
    {"name": "PolynomialDecay", "decay_steps": 15, "end_learning_rate": 0.01, "power": 2.0, "cycle": True},
    {"name": "InverseTimeDecay", "decay_steps": 5, "decay_rate": 0.5, "staircase": True},
    {"name": "CosineDecay", "decay_steps": 20},
    {"name": "CosineDecay", "decay_steps": 12, "alpha": 0.1, "warmup_target": 0.4, "warmup_steps": 4},
    {"name": "CosineDecayRestarts", "first_decay_steps": 5, "t_mul": 1.5, "m_mul": 0.8},
    {"name": "CosineDecayRestarts", "first_decay_steps": 7, "t_mul": 1.0, "alpha": 0.1},
]


def by_keras(parts: dict[str, object]) -> Callable[[int], float]:
    """The rate of a step as `fit` computes it: in a graph, because eager mode rounds some divisions differently."""
    parameters = {key: value for key, value in parts.items() if key != "name"}
    if parts["name"] != "PiecewiseConstantDecay":
        parameters["initial_learning_rate"] = RATE
    schedule = tf.function(getattr(keras.optimizers.schedules, str(parts["name"]))(**parameters), autograph=False)
    return lambda step: float(schedule(tf.constant(step, tf.int64)))


@pytest.mark.parametrize("parts", SCHEDULES, ids=lambda parts: parts["name"])
def test_rates_equal_those_of_keras_at_every_step(parts: dict[str, object]) -> None:
    schedule = Schedule(SPEC.validate_python(parts), RATE)
    theirs = by_keras(parts)
    expected = [theirs(step) for step in range(30)]

    assert schedule.rates(0, 30).tolist() == pytest.approx(expected, rel=1e-6, abs=1e-9)  # in float32
    assert np.concatenate([schedule.rates(0, 13), schedule.rates(13, 17)]).tolist() == schedule.rates(0, 30).tolist()
    assert schedule.rates(5, 0).tolist() == []


@pytest.mark.parametrize("parts", SCHEDULES, ids=lambda parts: parts["name"])
def test_rates_do_not_depend_on_how_requests_divide_the_blocks(parts: dict[str, object]) -> None:
    schedule, theirs = Schedule(SPEC.validate_python(parts), RATE), by_keras(parts)
    start, count = BLOCK_STEPS - 5, BLOCK_STEPS + 10  # in three blocks

    rates = schedule.rates(start, count)

    assert len(rates) == count
    for i in (0, 4, 5, 6, count - 6, count - 5, count - 1):
        assert rates[i] == pytest.approx(theirs(start + i), rel=1e-6, abs=1e-9)
        assert schedule.rates(start + i, 1)[0] == rates[i]


def test_a_second_request_within_a_block_computes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    schedule = Schedule(SPEC.validate_python(SCHEDULES[0]), RATE)
    schedule.rates(0, 1)

    monkeypatch.setattr(schedule, "_compute", lambda first: pytest.fail(f"computed the block from {first} again"))

    assert len(schedule.rates(1, 100)) == 100


def test_a_thousand_boundaries_give_the_rate_of_each_interval() -> None:
    parts = {
        "name": "PiecewiseConstantDecay",
        "boundaries": list(range(1, 1001)),
        "values": [1.0 / n for n in range(1, 1002)],
    }
    rates = Schedule(SPEC.validate_python(parts), RATE).rates(0, 1100)

    assert rates.tolist() == [float(np.float32(1.0 / min(max(step, 1), 1001))) for step in range(1100)]


def test_a_request_can_be_longer_than_a_block() -> None:
    schedule = Schedule(SPEC.validate_python(SCHEDULES[0]), RATE)

    rates = schedule.rates(3, BLOCK_STEPS + 10)

    assert len(rates) == BLOCK_STEPS + 10
    assert rates[-1] == schedule.rates(3 + BLOCK_STEPS + 9, 1)[0]


def test_without_a_schedule_the_rate_is_constant() -> None:
    assert Schedule(None, RATE).rates(1000, 3).tolist() == [RATE] * 3
