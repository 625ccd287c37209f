"""Networks are cut into stages where blocks repeat, and only there."""

import json
from typing import Any

import keras
import pytest

from tests.support.plans import plan_of
from worker.training.repeated_stages import stages_of

Stages = list[tuple[int, int]]  # (layers per block, repeats) of each stage


def stages(model: Any) -> Stages:
    return [(len(stage.block), stage.repeats) for stage in stages_of(plan_of(model=model))]


def network(*layers: keras.layers.Layer, skips: dict[int, int] | None = None) -> dict[str, Any]:
    """A chain of layers as Keras prints it; `skips` adds the output of an earlier layer to that of a later one."""
    inputs = keras.Input((20,))
    outputs: list[Any] = []
    for i, layer in enumerate(layers):
        output = layer(outputs[-1] if outputs else inputs)
        if skips and i in skips:
            output = keras.layers.Add()([output, outputs[skips[i]]])
        outputs.append(output)
    last = keras.layers.Dense(1, activation="sigmoid")(outputs[-1])
    return {"kind": "keras", "config": json.loads(keras.Model(inputs, last).to_json())}


def dense(units: int = 8, **options: Any) -> keras.layers.Layer:
    return keras.layers.Dense(units, **options)


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        ({"kind": "baseline", "depth": 11}, [(1, 1), (1, 10), (1, 1)]),
        ({"kind": "improved", "depth": 11}, [(1, 1), (2, 10), (2, 1)]),
        ({"kind": "baseline", "depth": 4}, [(5, 1)]),
        ({"kind": "mlp", "depth": 9, "width": 8, "residual": "post_activation"}, [(1, 1), (2, 8), (1, 1)]),
        (
            {"kind": "mlp", "depth": 9, "width": 8, "residual": "pre_activation", "dropout": 0.1},
            [(2, 1), (4, 8), (1, 1)],
        ),
        ({"kind": "mlp", "hidden_units": [8] * 6 + [4] * 6}, [(1, 1), (1, 5), (1, 1), (1, 5), (1, 1)]),
    ],
)
def test_equal_blocks_form_one_stage(model: Any, expected: Stages) -> None:
    assert stages(model) == expected


def test_every_layer_is_in_exactly_one_stage() -> None:
    planned = plan_of(model={"kind": "improved", "depth": 30})

    assert [node for stage in stages_of(planned) for node in stage.nodes] == list(planned.network.nodes)


def test_the_output_layer_is_never_part_of_a_stage_that_repeats() -> None:
    layers = [keras.layers.Dense(20, activation="sigmoid") for _ in range(8)]
    found = stages(network(*layers))

    assert found[-1][1] == 1


def test_layers_that_differ_form_no_stage_that_repeats() -> None:
    assert stages(network(*(dense(activation=name) for name in ("relu", "tanh", "elu", "relu", "tanh")))) == [(6, 1)]
    assert stages(network(*(dense(use_bias=i % 3 == 0) for i in range(6)))) == [(7, 1)]


def test_a_frozen_layer_differs_from_a_trainable_one() -> None:
    layers = [dense() for _ in range(10)]
    layers[5].trainable = False

    assert [stage for stage in stages(network(*layers)) if stage[1] > 1] == [(1, 4), (1, 4)]


def test_a_skip_connection_out_of_a_stage_cuts_the_stage() -> None:
    within = network(*(dense() for _ in range(10)), skips={9: 4})

    assert max(repeats for _, repeats in stages(within)) < 10
    assert stages(network(*(dense() for _ in range(8)), skips={7: 0})) == [(10, 1)]


def test_the_search_is_fast_for_many_layers_under_one_skip_connection() -> None:
    long = network(*(dense(4) for _ in range(150)), skips={149: 0})

    assert stages(long) == [(152, 1)]
