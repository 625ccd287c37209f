"""Two runs share a program if and only if everything built into the program is equal."""

import json
from typing import Any

import keras
import pytest

from service.contract.architecture import architecture_of
from tests.support.plans import plan_of

MLP = {"kind": "mlp", "depth": 3, "width": 8, "dropout": 0.1}
CLIPPED = {"gradient_clipping": {"by": "norm", "threshold": 1.0}}


def architecture(**parts: Any) -> str:
    return architecture_of(plan_of(**{"model": MLP, **parts}))


@pytest.mark.parametrize(
    "parts",
    [
        {"training": {"seed": 5}},
        {"training": {"epochs": 50}},
        {"training": {"optimizer": {"name": "adam", "learning_rate": 0.1, "beta_1": 0.5, "epsilon": 1e-3}}},
        {"training": {"learning_rate_schedule": {"name": "CosineDecay", "decay_steps": 100}}},
        {"training": {"early_stopping": {"monitor": "loss"}}},
        {"training": {"shuffle": False}},
        {"data": {"source": "random", "seed": 9}},
        {"data": {"source": "random", "scale": "standard"}},
        {"data": {"source": "parity", "bits": 20, "samples": 1000}},
        {"model": {**MLP, "kernel_initializer": "he_normal"}},
        {"recording": {"keep_model": True}},
        {"name": "another", "tags": ["a"]},
    ],
)
def test_inputs_of_a_program_do_not_change_its_name(parts: dict[str, Any]) -> None:
    assert architecture(**parts) == architecture()


def test_the_name_depends_on_whether_there_is_a_threshold_but_not_on_its_value() -> None:
    other = {"gradient_clipping": {"by": "norm", "threshold": 7.0}}

    assert architecture(training=CLIPPED) == architecture(training=other) != architecture()


@pytest.mark.parametrize(
    "parts",
    [
        {"model": {**MLP, "depth": 4}},
        {"model": {**MLP, "width": 9}},
        {"model": {**MLP, "activation": "tanh"}},
        {"model": {**MLP, "dropout": 0.2}},
        {"model": {**MLP, "residual": "post_activation"}},
        {"model": {**MLP, "normalization": "batch"}},
        {"data": {"source": "random", "samples": 999}},
        {"data": {"source": "random", "features": 21}},
        {"data": {"source": "iris"}},
        {"training": {"batch_size": 16}},
        {"training": {"validation_split": 0.3}},
        {"training": {"precision": "float64"}},
        {"training": {"stop_on_divergence": False}},
        {"training": {"optimizer": "sgd"}},
        {"training": {"optimizer": {"name": "adam", "amsgrad": True}}},
        {"training": {"optimizer": {"name": "adam", "weight_decay": 0.1}}},
        {"training": CLIPPED},
        {"recording": {"every": 2}},
        {"recording": {"statistics": ["weight_norm"]}},
    ],
)
def test_everything_built_into_a_program_changes_its_name(parts: dict[str, Any]) -> None:
    assert architecture(**parts) != architecture()


def test_nesterov_changes_the_program_only_with_momentum() -> None:
    def sgd(**options: Any) -> str:
        return architecture(training={"optimizer": {"name": "sgd", **options}})

    assert sgd(nesterov=True) == sgd() == sgd(momentum=0.9)
    assert sgd(nesterov=True, momentum=0.9) != sgd(momentum=0.9)


def test_the_name_depends_on_the_graph_but_not_on_the_names_of_layers() -> None:
    def joined(first: str, second: str, *, twice: bool) -> str:
        entry = keras.Input((20,))
        one = keras.layers.Dense(4, name=first)(entry)
        two = keras.layers.Dense(4, name=second)(one)
        summed = keras.layers.Add()([two, two if twice else one])
        model = keras.Model(entry, keras.layers.Dense(1, activation="sigmoid")(summed))
        return architecture(model={"kind": "keras", "config": json.loads(model.to_json())})

    assert joined("a", "b", twice=False) == joined("c", "d", twice=False)
    assert joined("a", "b", twice=True) != joined("a", "b", twice=False)
