"""The Keras model of a plan: names, shapes, initial values and depth."""

import math
from typing import Any

import keras
import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from service.contract.data_spec import Blobs, RandomData
from service.contract.model_spec import Baseline, Improved
from tests.support.plans import plan_of
from worker.training.keras_model import build_model
from worker.training.keras_session import KerasSession

models = st.builds(
    lambda kind, depth, width: kind(depth=depth, width=width),
    st.sampled_from([Baseline, Improved]),
    st.integers(1, 4),
    st.integers(1, 9),
)
data = st.builds(Blobs, samples=st.just(100), features=st.integers(1, 7), classes=st.integers(2, 5))


@settings(deadline=None, max_examples=20)
@given(models, data)
def test_variables_have_the_names_shapes_and_order_of_the_plan(model: Baseline | Improved, data: Blobs) -> None:
    plan = plan_of(model=model, data=data)
    built = build_model(plan, KerasSession())

    paths = ["/".join(v.path.split("/")[-2:]) for v in built.trainable_variables]
    assert paths == [variable.name for variable in plan.variables]
    assert [tuple(v.shape) for v in built.trainable_variables] == [variable.shape for variable in plan.variables]
    assert plan.sized.parameter_count == sum(math.prod(v.shape) for v in built.trainable_variables)


def test_each_layer_draws_its_own_glorot_weights_from_the_seed() -> None:
    def built(seed: int) -> list[Any]:
        model, data = Baseline(depth=3, width=64), RandomData(features=64)
        plan = plan_of(model=model, data=data, training={"seed": seed})
        layers: list[Any] = build_model(plan, KerasSession()).layers[1:]
        return layers

    first, again, other = built(1), built(1), built(2)

    kernels = [layer.kernel.numpy() for layer in first]
    limit = math.sqrt(6 / (64 + 64))  # Glorot and Bengio 2010, equation 16
    assert all(np.abs(kernel).max() <= limit for kernel in kernels[:3])
    assert all(np.abs(kernel).max() > 0.99 * limit for kernel in kernels[:3])
    assert not np.array_equal(kernels[0], kernels[1])
    np.testing.assert_array_equal(kernels[0], again[0].kernel.numpy())
    assert not np.array_equal(kernels[0], other[0].kernel.numpy())


def test_a_network_deeper_than_the_usual_recursion_limit_is_built() -> None:
    plan = plan_of(model=Baseline(depth=1000, width=1), data=RandomData(features=2))

    assert len(build_model(plan, KerasSession()).trainable_variables) == 2 * 1001


def test_a_layer_may_have_any_name_that_keras_gives_to_others() -> None:
    network = keras.Sequential(
        [
            keras.Input((2,), name="given"),
            keras.layers.Dense(3, activation="tanh", name="input_layer"),
            keras.layers.Dense(3, activation="tanh", name="x"),
            keras.layers.Dense(3, activation="tanh", name="x.activation"),
            keras.layers.Dense(1, activation="sigmoid", name="output"),
        ]
    )
    plan = plan_of(model={"kind": "keras", "config": network.to_json()}, data={"source": "moons"})
    KerasSession().clear()

    assert len(build_model(plan, KerasSession()).layers) == 1 + 4
    assert [v.layer for v in plan.activations] == ["input_layer", "x", "x.activation"]
