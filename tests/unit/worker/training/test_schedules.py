"""Learning rates against Keras's schedules, one step at a time."""

import keras
import numpy as np
import pytest
from pydantic import TypeAdapter

from service.contract.training_spec import ScheduleSpec
from worker.training.schedules import MOST_AT_ONCE, Schedule

SPEC: TypeAdapter[ScheduleSpec] = TypeAdapter(ScheduleSpec)
RATE = 0.1
SCHEDULES = [
    {"name": "ExponentialDecay", "decay_steps": 7, "decay_rate": 0.9},
    {"name": "ExponentialDecay", "decay_steps": 7, "decay_rate": 0.9, "staircase": True},
    {"name": "PiecewiseConstantDecay", "boundaries": [3, 9], "values": [0.5, 0.05, 0.0]},
    {"name": "PolynomialDecay", "decay_steps": 15, "end_learning_rate": 0.01, "power": 2.0, "cycle": True},
    {"name": "InverseTimeDecay", "decay_steps": 5, "decay_rate": 0.5, "staircase": True},
    {"name": "CosineDecay", "decay_steps": 12, "alpha": 0.1, "warmup_target": 0.4, "warmup_steps": 4},
    {"name": "CosineDecayRestarts", "first_decay_steps": 5, "t_mul": 1.5, "m_mul": 0.8},
]


@pytest.mark.parametrize("told", SCHEDULES, ids=lambda told: told["name"])
def test_rates_are_those_of_keras_at_every_step(told: dict[str, object]) -> None:
    schedule = Schedule(SPEC.validate_python(told), RATE)
    parameters = {key: value for key, value in told.items() if key != "name"}
    if told["name"] != "PiecewiseConstantDecay":
        parameters["initial_learning_rate"] = RATE
    theirs = getattr(keras.optimizers.schedules, str(told["name"]))(**parameters)
    expected = [float(theirs(step)) for step in range(30)]

    assert schedule.rates(0, 30).tolist() == pytest.approx(expected, rel=1e-5, abs=1e-9)  # in float32
    assert np.concatenate([schedule.rates(0, 13), schedule.rates(13, 17)]).tolist() == schedule.rates(0, 30).tolist()
    assert schedule.rates(5, 0).tolist() == []


def test_a_long_chunk_is_made_of_several() -> None:
    schedule = Schedule(SPEC.validate_python(SCHEDULES[0]), RATE)

    rates = schedule.rates(3, MOST_AT_ONCE + 10)

    assert len(rates) == MOST_AT_ONCE + 10
    assert rates[-1] == schedule.rates(3 + MOST_AT_ONCE + 9, 1)[0]


def test_without_a_schedule_the_rate_stays() -> None:
    assert Schedule(None, RATE).rates(1000, 3).tolist() == [RATE] * 3
