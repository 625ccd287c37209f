"""Proposed changes of a spec."""

from collections.abc import Callable, Mapping
from functools import reduce
from typing import Any

import keras
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.analysis.diagnosis import remedies
from service.analysis.diagnosis.values import Remedy
from service.contract.spec import ExperimentSpec
from tests.support.specs import mlps, presets, specs

PROPOSE: list[Callable[[ExperimentSpec], tuple[Remedy, ...]]] = [
    remedies.better_activation,
    remedies.leaky,
    remedies.fitting_initializer,
    remedies.normalized,
    remedies.residual,
    remedies.scaled_residual,
    remedies.shallower,
    remedies.clipping,
    remedies.scaled,
    remedies.less_fitting,
    remedies.more_epochs,
    lambda spec: remedies.rate(spec, 0.1, "a reason"),
    lambda spec: remedies.unclipped(spec, 123.4),
]


def changed(spec: ExperimentSpec, remedy: Remedy) -> ExperimentSpec:
    body = spec.model_dump(mode="json")
    for path, value in remedy.change.items():
        *parents, name = path.split(".")
        holder: dict[str, Any] = reduce(lambda inside, part: inside[part], parents, body)
        holder[name] = value
    return ExperimentSpec.model_validate(body).resolved()


@st.composite
def valid_specs(draw: st.DrawFn) -> ExperimentSpec:
    body: Mapping[str, Any] = draw(specs(st.one_of(mlps, presets)).filter(_is_valid))
    return ExperimentSpec.model_validate(body).resolved()


def _is_valid(body: Mapping[str, Any]) -> bool:
    try:
        ExperimentSpec.model_validate(body).resolved()
    except ValueError:
        return False
    return True


@settings(deadline=None)
@given(valid_specs(), st.sampled_from(PROPOSE))
def test_every_proposed_change_gives_a_valid_and_different_spec(spec: ExperimentSpec, propose: Any) -> None:
    for remedy in propose(spec):
        assert changed(spec, remedy) != spec
        assert remedy.reason


@pytest.mark.parametrize(("activation", "proposed"), [("sigmoid", True), ("tanh", True), ("relu", False)])
def test_only_a_squashing_activation_is_replaced(activation: str, proposed: bool) -> None:
    spec = ExperimentSpec.model_validate({"model": {"kind": "mlp", "activation": activation}}).resolved()

    assert bool(remedies.better_activation(spec)) == proposed
    assert bool(remedies.leaky(spec)) == (activation == "relu")


@pytest.mark.parametrize(
    "fields",
    [
        {"activation": "relu", "kernel_initializer": "he_uniform"},
        {"activation": "tanh"},
        {"activation": "relu", "normalization": "batch"},
    ],
)
def test_an_initializer_that_fits_is_not_replaced(fields: Mapping[str, str]) -> None:
    assert not remedies.fitting_initializer(
        ExperimentSpec.model_validate({"model": {"kind": "mlp", **fields}}).resolved()
    )


def test_random_biases_are_set_to_zero() -> None:
    drawn = {"kind": "mlp", "activation": "tanh", "bias_initializer": {"name": "normal", "stddev": 0.5}}

    (remedy,) = remedies.fitting_initializer(ExperimentSpec.model_validate({"model": drawn}).resolved())

    assert remedy.change == {"model.bias_initializer": "zeros"}


def test_remedies_of_a_keras_network_change_data_and_training_only() -> None:
    hidden = [keras.layers.Dense(8, "tanh") for _ in range(5)]
    network = keras.Sequential([keras.Input((20,)), *hidden, keras.layers.Dense(1, "sigmoid")])
    spec = ExperimentSpec.model_validate({"model": {"kind": "keras", "config": network.to_json()}}).resolved()

    paths = [path for propose in PROPOSE for remedy in propose(spec) for path in remedy.change]

    assert paths
    assert not [path for path in paths if path.startswith("model")]


def test_clipping_is_not_proposed_to_a_run_that_clips() -> None:
    clipped = {"gradient_clipping": {"by": "norm", "threshold": 1.0}}

    assert not remedies.clipping(ExperimentSpec.model_validate({"model": "baseline", "training": clipped}).resolved())
