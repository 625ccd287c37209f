"""Localization of the layer at which the backward signal drops."""

import keras
import numpy as np
import pytest

from service.analysis.diagnosis import Evidence
from service.analysis.diagnosis.gradflow.reach import Reach, reach_of
from service.analysis.diagnosis.gradflow.signal_drop import SignalDrop, signal_drop
from service.contract.plan import Plan
from service.contract.recording_spec import Statistic
from tests.support.made_evidence import DIGITS, constant, plain, scaled_norms, sound, with_series
from tests.support.plans import plan_of


def drop_of(evidence: Evidence) -> SignalDrop | None:
    return signal_drop(evidence, reach_of(evidence))


def below(depth: int, last: int, decades: float) -> Evidence:
    """A network of this depth whose gradient is smaller by these decades in all layers up to `last`."""
    return scaled_norms(sound(plain(depth=depth)), {f"dense_{i}": -decades for i in range(last + 1)})


def of_keras(*layers: keras.Layer) -> Plan:
    network = keras.Sequential([keras.Input((64,)), *layers, keras.layers.Dense(10, "softmax", name="output")])
    return plan_of(model={"kind": "keras", "config": network.to_json()}, data=DIGITS)


@pytest.mark.parametrize("last", [0, 3, 6])
def test_a_drop_is_found_between_two_neighbors(last: int) -> None:
    found = drop_of(below(8, last, 3.0))

    assert found is not None
    assert (found.below, found.above) == (f"dense_{last}", f"dense_{last + 1}")
    assert found.decades == pytest.approx(3, abs=0.1)
    assert set(found.layers) == {found.below, found.above}  # no recorded statistic tells which


@pytest.mark.parametrize("decades", [0.3, 0.6, 1.5])
def test_a_uniform_decay_is_no_drop(decades: float) -> None:
    assert drop_of(scaled_norms(sound(plain(depth=8)), {f"dense_{i}": -decades * (8 - i) for i in range(8)})) is None


def test_a_dip_from_which_the_signal_recovers_is_no_drop() -> None:
    assert drop_of(scaled_norms(sound(plain(depth=8)), {"dense_3": -3.0})) is None


def test_two_layers_are_too_few_to_find_a_drop() -> None:
    reach = reach_of(below(1, 0, 3.0))

    assert isinstance(reach, Reach)
    assert drop_of(below(1, 0, 3.0)) is None


def test_the_only_layer_with_a_bounded_activation_is_at_fault() -> None:
    dense = keras.layers.Dense
    plan = of_keras(*(dense(32, "sigmoid" if i == 2 else "relu", name=f"dense_{i}") for i in range(6)))

    found = drop_of(scaled_norms(sound(plan), {f"dense_{i}": -3.0 for i in range(3)}))

    assert found is not None
    assert found.layers == ("dense_2",)


def test_the_layer_below_is_at_fault_if_its_weights_are_too_large() -> None:
    evidence = below(8, 3, 3.0)
    norms = constant(evidence, Statistic.WEIGHT_NORM, 8.0)
    norms[[v.name for v in evidence.plan.rows_of(Statistic.WEIGHT_NORM)].index("dense_3/kernel")] = 80.0

    found = drop_of(with_series(evidence, {Statistic.WEIGHT_NORM: norms}))

    assert found is not None
    assert found.layers == ("dense_3",)


def test_a_drop_tells_whether_the_units_below_are_dead() -> None:
    evidence = below(8, 3, 3.0)
    dead = constant(evidence, Statistic.DEAD_FRACTION, 0.1)
    dead[3] = 0.97

    found = drop_of(with_series(evidence, {Statistic.DEAD_FRACTION: dead}))

    assert found is not None
    assert found.dead
    assert found.layers == ("dense_3",)


def test_kernels_show_the_drop_if_layers_have_no_bias() -> None:
    plan = of_keras(*(keras.layers.Dense(32, "tanh", use_bias=False, name=f"dense_{i}") for i in range(6)))

    found = drop_of(scaled_norms(sound(plan), {f"dense_{i}": -3.0 for i in range(3)}))

    assert found is not None
    assert found.of == "kernels"
    assert (found.below, found.above) == ("dense_2", "dense_3")
    assert np.isfinite(found.decades)
