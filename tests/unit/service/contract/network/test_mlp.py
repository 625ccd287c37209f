"""The network of a multilayer perceptron."""

import math
from typing import Any

import pytest
from hypothesis import given
from pydantic import ValidationError

from service.contract.model_spec import Mlp
from service.contract.network.graph import INPUT, Network
from service.contract.network.layers import Dense
from service.contract.network.mlp import network_of_mlp
from service.contract.network.reshaping import Add, Rescaling
from tests.support.specs import mlps


def network(**fields: Any) -> Network:
    model = Mlp.model_validate({"kind": "mlp", "depth": 2, "width": 4, **fields}).resolved()
    return network_of_mlp(model, (3,), 1, "sigmoid")


def kinds(found: Network) -> list[str]:
    return [f"{node.name}:{type(node.layer).__name__}" for node in found.nodes]


def test_plain_dense_layers_contain_their_activation() -> None:
    found = network(activation="tanh")

    assert kinds(found) == ["dense_0:Dense", "dense_1:Dense", "output:Dense"]
    assert [node.activation for node in found.nodes] == ["tanh", "tanh", "sigmoid"]
    assert [node.inputs for node in found.nodes] == [(INPUT,), ("dense_0",), ("dense_1",)]


FORMS: list[tuple[dict[str, Any], list[str]]] = [
    (
        {"normalization": "batch"},
        ["dense_0", "batch_normalization_0", "dense_1", "batch_normalization_1", "output"],
    ),
    (
        {"depth": 1, "normalization": "layer", "normalization_position": "before_activation", "dropout": 0.5},
        ["dense_0", "layer_normalization_0", "activation_0", "dropout_0", "output"],
    ),
    (
        {"residual": "post_activation"},
        ["dense_0", "dense_1", "residual_1", "output"],
    ),
    (
        {"residual": "pre_activation", "normalization": "batch", "residual_scale": 0.5},
        ["dense_0", "batch_normalization_1", "activation_1", "dense_1", "residual_scale_1", "residual_1", "output"],
    ),
]


@pytest.mark.parametrize(("fields", "names"), FORMS)
def test_layers_have_the_order_that_the_spec_describes(fields: dict[str, Any], names: list[str]) -> None:
    assert [node.name for node in network(**fields).nodes] == names


def test_a_residual_adds_the_input_of_a_block_to_its_output() -> None:
    found = network(depth=3, residual="post_activation", residual_scale="1/sqrt(depth)")

    joins = {node.name: node.inputs for node in found.nodes if isinstance(node.layer, Add)}
    assert joins == {"residual_1": ("dense_0", "residual_scale_1"), "residual_2": ("residual_1", "residual_scale_2")}
    assert {node.layer.scale for node in found.nodes if isinstance(node.layer, Rescaling)} == {1 / math.sqrt(3)}


def test_samples_with_several_dimensions_are_flattened_first() -> None:
    model = Mlp.model_validate({"kind": "mlp", "hidden_units": [5]})

    found = network_of_mlp(model, (4, 4, 2), 3, "softmax")

    assert [node.name for node in found.nodes] == ["flatten", "dense_0", "output"]
    assert found.shapes((4, 4, 2))["flatten"] == (32,)


@given(fields=mlps)
def test_any_perceptron_ends_in_the_output_layer_and_reaches_every_layer(fields: dict[str, Any]) -> None:
    try:
        model = Mlp.model_validate(fields).resolved()
    except ValidationError:
        return  # the fields contradict each other

    found = network_of_mlp(model, (7,), 3, "softmax")

    shapes = found.shapes((7,))
    assert shapes[found.output] == (3,)
    assert found.reached == {node.name for node in found.nodes}
    assert [shapes[f"dense_{depth}"] for depth in range(model.hidden_layers)] == [(w,) for w in model.widths]
    assert sum(isinstance(node.layer, Dense) for node in found.nodes) == model.hidden_layers + 1
    assert len(found.by_name) == len(found.nodes)


def test_a_scale_beyond_float32_is_refused() -> None:
    with pytest.raises(ValidationError, match="residual_scale"):
        Mlp.model_validate({"kind": "mlp", "residual": "post_activation", "residual_scale": 1e300})
