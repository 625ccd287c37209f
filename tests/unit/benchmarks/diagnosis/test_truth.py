"""The true symptoms of cases with artificial measures."""

from dataclasses import replace

import pytest

from benchmarks.diagnosis.case import Case
from benchmarks.diagnosis.cases import BY_NAME
from benchmarks.diagnosis.facts import Facts
from benchmarks.diagnosis.truth import Truth, truth_of_control, truth_of_fault

SOUND = Facts(
    skill=0.9,
    diverged=False,
    smallest=-2.0,
    smallest_throughout=-2.5,
    largest=-1.0,
    spread=0.5,
    dead={"dense_0": 0.1, "dense_1": 0.0},
    saturated={"dense_0": 0.0, "dense_1": 0.1},
    loss_left=0.1,
    rises=0.0,
    overfitted=0.0,
    clipped=0.0,
)


def _truth(
    family: str, faulty: Facts, twin: Facts = SOUND, layers: tuple[str, ...] = (), learnable: bool = True
) -> Truth:
    case = Case(family, 0, {}, {}, layers)
    return truth_of_fault(case, BY_NAME[family], faulty, twin, learnable=learnable, classes=True)


def test_a_sound_control_that_learns_is_healthy() -> None:
    assert truth_of_control(SOUND, classes=True).symptom == "healthy"


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"skill": 0.49}, "learns too little"),
        ({"diverged": True}, "diverges"),
        ({"spread": 1.5}, "its kernels are 1.5 decades apart"),
        ({"dead": {"dense_0": 0.4}}, "has dead units"),
        ({"saturated": {"dense_0": 0.4}}, "has saturated units"),
        ({"rises": 0.1}, "its loss rises"),
        ({"overfitted": 0.1}, "overfits"),
        ({"clipped": 0.5}, "is clipped at most steps"),
    ],
)
def test_a_control_with_any_unsound_measure_is_dropped(change: dict[str, object], why: str) -> None:
    truth = truth_of_control(replace(SOUND, **change), classes=True)  # type: ignore[arg-type]

    assert truth.symptom is None
    assert truth.dropped == why


def test_regression_needs_less_skill() -> None:
    assert truth_of_control(replace(SOUND, skill=0.35), classes=False).symptom == "healthy"


def test_a_gradient_vanishes_if_it_is_smaller_and_the_twin_learns_more() -> None:
    small = replace(SOUND, smallest=-4.1)

    assert _truth("vanishing_activation", small).symptom is None
    assert _truth("vanishing_activation", replace(small, skill=0.6)).symptom == "vanishing"
    assert _truth("vanishing_activation", replace(SOUND, smallest=-3.9, skill=0.6)).symptom is None


def test_a_gradient_that_stays_a_thousand_times_smaller_vanishes_regardless_of_learning() -> None:
    truth = _truth(
        "vanishing_activation", replace(SOUND, smallest_throughout=-5.6), replace(SOUND, skill=0.0), learnable=False
    )

    assert truth.symptom == "vanishing"


def test_a_gradient_explodes_by_its_size_or_by_its_profile() -> None:
    large = replace(SOUND, largest=0.6)

    assert _truth("exploding_batch_norm", large).symptom is None
    assert _truth("exploding_batch_norm", replace(large, skill=0.5)).symptom == "exploding"
    assert _truth("exploding_batch_norm", replace(large, spread=2.0)).symptom == "exploding"
    assert _truth("exploding_batch_norm", replace(SOUND, spread=2.0, skill=0.5)).symptom == "exploding"
    assert _truth("exploding_batch_norm", replace(SOUND, spread=2.0)).symptom is None
    assert _truth("exploding_batch_norm", replace(SOUND, largest=2.1)).symptom == "exploding"
    assert _truth("exploding_batch_norm", replace(SOUND, largest=float("inf"))).symptom == "exploding"


def test_only_the_units_of_the_faulty_layer_count() -> None:
    dead = replace(SOUND, dead={"dense_0": 0.1, "dense_1": 0.9})

    assert _truth("dead_layer", dead, layers=("dense_1",)).symptom == "dead_units"
    assert _truth("dead_layer", dead, layers=("dense_0",)).symptom is None
    assert _truth("dead_bias", dead).symptom == "dead_units"
    assert _truth("dead_bias", dead, twin=replace(SOUND, dead={"dense_0": 0.4})).symptom is None


def test_the_symptom_of_a_large_learning_rate_follows_from_its_effect() -> None:
    def of(**facts: object) -> Truth:
        return _truth("rate_large", replace(SOUND, **facts))  # type: ignore[arg-type]

    assert of(diverged=True, skill=0.0, loss_left=float("nan")).symptom == "diverged"
    assert of(skill=0.0, loss_left=1.3).symptom == "loss_not_decreasing"
    assert of(rises=0.3).symptom == "oscillating_loss"
    assert of().symptom is None
    dead = of(rises=0.3, dead={"dense_0": 1.0})
    assert {"oscillating_loss", "update_ratio_out_of_range", "dead_units"} <= set(dead.answers)
    assert "diverged" not in dead.answers


def test_overfitting_requires_a_training_loss_that_fell() -> None:
    assert _truth("overfitting", replace(SOUND, overfitted=0.5)).symptom == "overfitting"
    assert _truth("overfitting", replace(SOUND, overfitted=0.5, loss_left=0.8)).symptom is None


def test_a_fault_whose_twin_fails_is_dropped() -> None:
    assert _truth("rate_small", SOUND, replace(SOUND, skill=0.2)).dropped == "its twin learns too little"
    assert _truth("rate_small", SOUND, replace(SOUND, diverged=True)).dropped == "its twin diverges"
    assert _truth("rate_small", SOUND).dropped == "no worse than its twin"


def test_consequences_of_a_fault_are_tolerated() -> None:
    truth = _truth("vanishing_activation", replace(SOUND, smallest=-6.0, skill=0.0, loss_left=1.0))

    assert truth.answers == ("vanishing",)
    assert {"loss_not_decreasing", "slow_convergence", "poor_initialization"} <= set(truth.tolerated)
    assert not {"vanishing", "dead_units", "overfitting", "diverged", "exploding"} & set(truth.tolerated)
