"""Networks as the contract describes them."""

import math

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from service.contract.spec import Baseline, Improved, ModelSpec
from service.contract.workload import DataShape, parameter_count, trainable_variables
from worker.training.models import build

models = st.builds(
    lambda kind, depth, width: kind(depth=depth, width=width),
    st.sampled_from([Baseline, Improved]),
    st.integers(1, 4),
    st.integers(1, 9),
)
shapes = st.builds(DataShape, st.just(10), st.integers(1, 7), st.integers(2, 5))


@settings(deadline=None, max_examples=20)
@given(models, shapes)
def test_variables_have_the_names_shapes_and_order_of_the_contract(model: ModelSpec, shape: DataShape) -> None:
    built = build(model, shape, seed=0)
    named = trainable_variables(model, shape)

    paths = ["/".join(v.path.split("/")[-2:]) for v in built.trainable_variables]
    assert paths == [variable.name for variable in named]
    assert [tuple(v.shape) for v in built.trainable_variables] == [variable.shape for variable in named]
    assert parameter_count(model, shape) == sum(math.prod(v.shape) for v in built.trainable_variables)


def test_each_layer_draws_its_own_glorot_weights_from_the_seed() -> None:
    model, shape = Baseline(depth=3, width=64), DataShape(10, 64, 2)

    first, again, other = (build(model, shape, seed=seed) for seed in (1, 1, 2))

    kernels = [layer.kernel.numpy() for layer in first.layers]
    limit = math.sqrt(6 / (64 + 64))  # Glorot and Bengio 2010, equation 16
    assert all(np.abs(kernel).max() <= limit for kernel in kernels[:3])
    assert all(np.abs(kernel).max() > 0.99 * limit for kernel in kernels[:3])
    assert not np.array_equal(kernels[0], kernels[1])
    np.testing.assert_array_equal(kernels[0], again.layers[0].kernel.numpy())
    assert not np.array_equal(kernels[0], other.layers[0].kernel.numpy())


def test_a_network_of_a_thousand_layers_is_built() -> None:
    model, shape = Baseline(depth=1000, width=1), DataShape(10, 2, 2)

    assert len(build(model, shape, seed=0).trainable_variables) == 2 * 1001
