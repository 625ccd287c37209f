"""Data specs become arrays: shapes, scales, seeds and order."""

from collections.abc import Callable

import numpy as np
import pytest
from sklearn import datasets

from service.contract.data_shape import BUNDLED
from service.contract.spec import ExperimentSpec
from tests.support.plans import plan_of
from worker.training.data import load

SpecOf = Callable[..., ExperimentSpec]


@pytest.mark.parametrize("source", BUNDLED)
def test_declared_shapes_equal_those_of_scikit_learn(source: str) -> None:
    x, y = getattr(datasets, f"load_{source}")(return_X_y=True)

    assert x.shape == (BUNDLED[source].samples, *BUNDLED[source].input_shape)
    classes = BUNDLED[source].classes
    if classes is not None:
        assert sorted(np.unique(y)) == list(range(classes))


def test_random_data_have_uniform_inputs_and_balanced_labels(spec_of: SpecOf) -> None:
    data = load(plan_of(spec_of(model="baseline", data={"source": "random", "samples": 10_000})))

    assert data.x_train.shape == (8000, 20)
    assert data.x_validation.shape == (2000, 20)
    assert data.x_train.dtype == np.float32
    assert 0 <= data.x_train.min() < 0.001 < 0.999 < data.x_train.max() < 1
    assert abs(data.y_train.mean() - 0.5) < 4 * 0.5 / np.sqrt(8000)  # four standard errors


def test_standard_scaling_uses_the_training_samples_and_maps_a_constant_column_to_zero(spec_of: SpecOf) -> None:
    data = load(plan_of(spec_of(model="baseline", data={"source": "digits", "scale": "standard"}), "float64"))
    standard_deviation = data.x_train.std(axis=0)

    np.testing.assert_allclose(data.x_train.mean(axis=0), 0, atol=1e-12)
    assert set(np.round(standard_deviation, 9)) == {0.0, 1.0}  # some pixels of the digits are always empty
    assert not np.allclose(data.x_validation.mean(axis=0), 0, atol=1e-3)


def test_minmax_scaling_maps_the_training_samples_to_the_unit_interval(spec_of: SpecOf) -> None:
    data = load(plan_of(spec_of(model="baseline", data={"source": "breast_cancer", "scale": "minmax"}), "float64"))

    np.testing.assert_allclose(data.x_train.min(axis=0), 0, atol=1e-12)
    np.testing.assert_allclose(data.x_train.max(axis=0), 1, atol=1e-12)


def test_real_samples_are_shuffled_by_the_data_seed_and_none_is_lost(spec_of: SpecOf) -> None:
    source = {"source": "iris", "seed": 5}
    data = load(plan_of(spec_of(model="baseline", data=source), "float64"))
    x, _ = datasets.load_iris(return_X_y=True)
    samples = np.concatenate([data.x_train, data.x_validation])

    assert not np.array_equal(samples, x)
    assert sorted(map(tuple, samples)) == sorted(map(tuple, x))
    assert len(set(data.y_validation)) == 3  # unshuffled, the last fifth of iris is of one class


def test_the_training_seed_does_not_change_data_that_have_a_seed_of_their_own(spec_of: SpecOf) -> None:
    def inputs(data_seed: int | None, training_seed: int) -> bytes:
        data = {"source": "random", "seed": data_seed}
        return load(plan_of(spec_of(model="baseline", data=data, training={"seed": training_seed}))).x_train.tobytes()

    assert inputs(7, 1) == inputs(7, 2)
    assert inputs(None, 1) != inputs(None, 2)
    assert inputs(None, 7) == inputs(7, 1)
