"""Which single layer it is."""

import keras
import numpy as np
import pytest

from service.analysis.diagnosis import Evidence
from service.analysis.diagnosis.gradflow.reach import Reach, reach_of
from service.analysis.diagnosis.gradflow.single_layer import Culprit, single_layer
from service.contract.plan import Plan
from service.contract.recording_spec import Statistic
from tests.support.made_evidence import DIGITS, constant, plain, scaled_norms, sound, with_series
from tests.support.plans import plan_of


def culprit(evidence: Evidence) -> Culprit | None:
    return single_layer(evidence, reach_of(evidence))


def below(depth: int, last: int, decades: float) -> Evidence:
    """A network of this depth whose layers up to `last` get so many decades less."""
    return scaled_norms(sound(plain(depth=depth)), {f"dense_{i}": -decades for i in range(last + 1)})


def of_keras(*layers: keras.Layer) -> Plan:
    network = keras.Sequential([keras.Input((64,)), *layers, keras.layers.Dense(10, "softmax", name="output")])
    return plan_of(model={"kind": "keras", "config": network.to_json()}, data=DIGITS)


@pytest.mark.parametrize("last", [0, 3, 6])
def test_a_fall_at_one_place_is_between_two_neighbors(last: int) -> None:
    found = culprit(below(8, last, 3.0))

    assert found is not None
    assert (found.below, found.above) == (f"dense_{last}", f"dense_{last + 1}")
    assert found.decades == pytest.approx(3, abs=0.1)
    assert set(found.layers) == {found.below, found.above}  # nothing recorded tells which


@pytest.mark.parametrize("decades", [0.3, 0.6, 1.5])
def test_a_fall_that_is_the_same_everywhere_is_no_single_layers(decades: float) -> None:
    assert culprit(scaled_norms(sound(plain(depth=8)), {f"dense_{i}": -decades * (8 - i) for i in range(8)})) is None


def test_a_dip_that_the_signal_comes_back_from_is_no_fall() -> None:
    assert culprit(scaled_norms(sound(plain(depth=8)), {"dense_3": -3.0})) is None


def test_two_layers_are_too_few_to_tell() -> None:
    reach = reach_of(below(1, 0, 3.0))

    assert isinstance(reach, Reach)
    assert culprit(below(1, 0, 3.0)) is None


def test_the_only_bounded_activation_is_the_one() -> None:
    dense = keras.layers.Dense
    plan = of_keras(*(dense(32, "sigmoid" if i == 2 else "relu", name=f"dense_{i}") for i in range(6)))

    found = culprit(scaled_norms(sound(plan), {f"dense_{i}": -3.0 for i in range(3)}))

    assert found is not None
    assert found.layers == ("dense_2",)


def test_weights_too_large_for_their_activation_are_the_layers_below() -> None:
    evidence = below(8, 3, 3.0)
    norms = constant(evidence, Statistic.WEIGHT_NORM, 8.0)
    norms[[v.name for v in evidence.plan.rows_of(Statistic.WEIGHT_NORM)].index("dense_3/kernel")] = 80.0

    found = culprit(with_series(evidence, {Statistic.WEIGHT_NORM: norms}))

    assert found is not None
    assert found.layers == ("dense_3",)


def test_units_that_are_off_are_told() -> None:
    evidence = below(8, 3, 3.0)
    dead = constant(evidence, Statistic.DEAD_FRACTION, 0.1)
    dead[3] = 0.97

    found = culprit(with_series(evidence, {Statistic.DEAD_FRACTION: dead}))

    assert found is not None
    assert found.dead
    assert found.layers == ("dense_3",)


def test_without_biases_kernels_tell() -> None:
    plan = of_keras(*(keras.layers.Dense(32, "tanh", use_bias=False, name=f"dense_{i}") for i in range(6)))

    found = culprit(scaled_norms(sound(plan), {f"dense_{i}": -3.0 for i in range(3)}))

    assert found is not None
    assert found.of == "kernels"
    assert (found.below, found.above) == ("dense_2", "dense_3")
    assert np.isfinite(found.decades)
