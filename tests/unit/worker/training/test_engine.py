"""The training loop against `model.fit`."""

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
import pytest

from service.contract.recording_spec import Statistic
from service.contract.spec import ExperimentSpec
from tests.support.plans import plan_of
from worker.training.data import load
from worker.training.engine import Chunk, TrainingRun

Trained = tuple[TrainingRun, list[Chunk]]
SpecOf = Callable[..., ExperimentSpec]
Train = Callable[..., Trained]
Fit = Callable[[ExperimentSpec, str], tuple[keras.Model, dict[str, list[float]]]]

WRONG = 1.001


def largest_difference(run: TrainingRun, model: keras.Model) -> float:
    """The largest ‖difference‖ / ‖weights‖ of any variable between a run and a Keras model."""
    trainable, fixed = run.program.variables(run.state)
    ours = [*trainable, *fixed]
    theirs = [v.numpy() for v in [*model.trainable_variables, *model.non_trainable_variables]]
    return max(float(np.linalg.norm(a - b) / np.linalg.norm(b)) for a, b in zip(ours, theirs, strict=True) if np.any(b))


def assert_weights_agree(run: TrainingRun, model: keras.Model, tolerance: float) -> None:
    assert largest_difference(run, model) <= tolerance


def norms(chunks: list[Chunk]) -> npt.NDArray[np.floating]:
    return np.concatenate([chunk.recorded[Statistic.GRADIENT_NORM] for chunk in chunks])


def unshuffled(model: Any, **training: Any) -> dict[str, Any]:
    return {"model": model, "training": {"shuffle": False, **training}}


IRIS = {"source": "iris", "scale": "standard"}  # 120 training samples: three batches of 32 and one of 24; softmax
SMALL = {"kind": "improved", "depth": 2, "width": 8}
SGD = {"name": "sgd", "learning_rate": 0.05, "momentum": 0.9}


@pytest.mark.parametrize("xla", [False, True], ids=["graph", "xla"])
@pytest.mark.parametrize(("model", "tolerance"), [("baseline", 1e-9), ("improved", 1e-8)])
def test_a_preset_ends_with_the_weights_of_fit(
    spec_of: SpecOf, trained: Train, fitted: Fit, model: str, tolerance: float, xla: bool
) -> None:
    spec = spec_of(**unshuffled(model, epochs=2))
    run, _ = trained(spec, "float64", xla=xla)
    theirs, _ = fitted(spec, "float64")

    assert_weights_agree(run, theirs, tolerance)


@pytest.mark.parametrize("xla", [False, True], ids=["graph", "xla"])
@pytest.mark.parametrize("optimizer", [{"name": "adam"}, SGD], ids=["adam", "sgd"])
def test_a_smaller_last_batch_and_a_softmax_train_as_in_fit(
    spec_of: SpecOf, trained: Train, fitted: Fit, optimizer: dict[str, Any], xla: bool
) -> None:
    spec = spec_of(**unshuffled(SMALL, optimizer=optimizer), data=IRIS)
    run, _ = trained(spec, "float64", xla=xla)
    theirs, _ = fitted(spec, "float64")

    assert_weights_agree(run, theirs, 1e-9)


def test_the_comparison_with_fit_detects_a_learning_rate_that_is_wrong_by_a_thousandth(
    spec_of: SpecOf, trained: Train, fitted: Fit
) -> None:
    wrong = {**SGD, "learning_rate": SGD["learning_rate"] * WRONG}  # type: ignore[operator]
    run, _ = trained(spec_of(**unshuffled(SMALL, optimizer=wrong), data=IRIS), "float64")
    theirs, _ = fitted(spec_of(**unshuffled(SMALL, optimizer=SGD), data=IRIS), "float64")

    with pytest.raises(AssertionError):
        assert_weights_agree(run, theirs, 1e-8)


def test_epoch_metrics_equal_those_of_fit(spec_of: SpecOf, trained: Train, fitted: Fit) -> None:
    spec = spec_of(**unshuffled(SMALL, optimizer={"name": "adam"}), data=IRIS)
    _, chunks = trained(spec, "float64")
    _, history = fitted(spec, "float64")

    epochs = [chunk.epoch_metrics for chunk in chunks if chunk.epoch_metrics is not None]
    for name in ("loss", "accuracy", "val_loss", "val_accuracy"):
        ours = [metrics[name] for metrics in epochs]
        np.testing.assert_allclose(ours, history[name], rtol=1e-6)


def test_each_epoch_has_an_order_of_its_own_that_contains_every_sample_once(spec_of: SpecOf) -> None:
    spec = spec_of(model={"kind": "baseline", "depth": 1, "width": 2})
    run = TrainingRun(plan_of(spec), load(plan_of(spec)))
    first, second = np.asarray(run._order(0)), np.asarray(run._order(1))

    assert sorted(first) == sorted(second) == list(range(800))
    assert not np.array_equal(first, second)
    assert np.array_equal(first, np.asarray(run._order(0)))


def test_a_run_ends_at_the_first_loss_or_gradient_that_is_not_finite(spec_of: SpecOf, trained: Train) -> None:
    spec = spec_of(
        model={"kind": "baseline", "depth": 1},
        data={"source": "breast_cancer"},
        training={"epochs": 50, "optimizer": {"name": "sgd", "learning_rate": 1e38}},
    )
    _, chunks = trained(spec)
    losses = np.concatenate([chunk.step_loss for chunk in chunks])

    finite = np.isfinite(losses) & np.isfinite(norms(chunks)).all(axis=1)
    assert finite[:-1].all()
    assert not finite[-1]
    assert chunks[-1].diverged_at_step == len(losses) - 1
    assert all(chunk.diverged_at_step is None for chunk in chunks[:-1])


@pytest.mark.parametrize("stops", [True, False])
def test_a_gradient_that_is_not_finite_ends_a_run_even_if_the_loss_is_finite(
    spec_of: SpecOf, trained: Train, stops: bool
) -> None:
    # given a network whose ReLUs turn NaN into 0, so that every loss is finite
    he_three_halves = {"name": "variance_scaling", "scale": 3, "mode": "fan_in", "distribution": "truncated_normal"}
    spec = spec_of(
        model={"kind": "mlp", "depth": 24, "kernel_initializer": he_three_halves},
        data={"source": "digits", "scale": "standard"},
        training={"epochs": 1, "optimizer": "sgd", "stop_on_divergence": stops},
    )

    _, chunks = trained(spec)

    found = norms(chunks)
    assert np.isfinite(np.concatenate([chunk.step_loss for chunk in chunks])).all()
    first = int(np.flatnonzero(~np.isfinite(found).all(axis=1))[0])
    assert next(c.diverged_at_step for c in chunks if c.diverged_at_step is not None) == first
    assert len(found) == (first + 1 if stops else 45)


def test_the_columns_of_a_statistic_are_the_variables_of_the_plan(spec_of: SpecOf, trained: Train) -> None:
    spec = spec_of(model=SMALL, data=IRIS, training={"epochs": 1})
    run, chunks = trained(spec)
    named = plan_of(spec).variables
    trainable, _ = run.program.variables(run.state)

    assert [value.shape for value in trainable] == [variable.shape for variable in named]
    assert norms(chunks).shape[1] == len(named)


def test_a_batch_size_beyond_the_data_means_one_batch_of_all_samples(spec_of: SpecOf, trained: Train) -> None:
    model = {"kind": "baseline", "depth": 2, "width": 4}
    _, whole = trained(spec_of(**unshuffled(model, batch_size=120), data=IRIS))
    _, larger = trained(spec_of(**unshuffled(model, batch_size=2**53 - 1), data=IRIS))

    assert norms(whole).shape == (5, 6)
    assert norms(larger).tobytes() == norms(whole).tobytes()
