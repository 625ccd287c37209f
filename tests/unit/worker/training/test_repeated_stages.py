"""Where a network repeats, and where it only seems to."""

import json
from typing import Any

import keras
import pytest

from tests.support.plans import plan_of
from worker.training.repeated_stages import stages_of

Shape = list[tuple[int, int]]  # (layers of a block, repeats) of each stage


def stages(model: Any) -> Shape:
    return [(len(stage.block), stage.repeats) for stage in stages_of(plan_of(model=model))]


def own(*layers: keras.layers.Layer, skips: dict[int, int] | None = None) -> dict[str, Any]:
    """A network of these layers in a row; `skips` adds the output of one layer to that of a later one."""
    entry = keras.Input((20,))
    outputs: list[Any] = []
    for i, layer in enumerate(layers):
        output = layer(outputs[-1] if outputs else entry)
        if skips and i in skips:
            output = keras.layers.Add()([output, outputs[skips[i]]])
        outputs.append(output)
    last = keras.layers.Dense(1, activation="sigmoid")(outputs[-1])
    return {"kind": "keras", "config": json.loads(keras.Model(entry, last).to_json())}


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
def test_equal_layers_are_one_stage(model: Any, expected: Shape) -> None:
    assert stages(model) == expected


def test_every_layer_is_in_exactly_one_stage() -> None:
    planned = plan_of(model={"kind": "improved", "depth": 30})

    assert [node for stage in stages_of(planned) for node in stage.nodes] == list(planned.network.nodes)


def test_the_output_is_never_part_of_a_stage_that_repeats() -> None:
    layers = [keras.layers.Dense(20, activation="sigmoid") for _ in range(8)]
    found = stages(own(*layers))

    assert found[-1][1] == 1


def test_layers_that_differ_do_not_repeat() -> None:
    assert stages(own(*(dense(activation=name) for name in ("relu", "tanh", "elu", "relu", "tanh")))) == [(6, 1)]
    assert stages(own(*(dense(use_bias=i % 3 == 0) for i in range(6)))) == [(7, 1)]


def test_a_frozen_layer_differs_from_one_that_is_trained() -> None:
    layers = [dense() for _ in range(10)]
    layers[5].trainable = False

    assert [stage for stage in stages(own(*layers)) if stage[1] > 1] == [(1, 4), (1, 4)]


def test_a_skip_out_of_the_middle_keeps_layers_from_being_a_loop() -> None:
    within = own(*(dense() for _ in range(10)), skips={9: 4})

    assert max(repeats for _, repeats in stages(within)) < 10
    assert stages(own(*(dense() for _ in range(8)), skips={7: 0})) == [(10, 1)]


def test_a_thousand_layers_under_one_long_skip_are_looked_through_in_a_moment() -> None:
    long = own(*(dense(4) for _ in range(300)), skips={299: 0})

    assert stages(long) == [(302, 1)]
