"""Recorded norms equal those of the gradient by finite differences and by TensorFlow's tape."""

from collections.abc import Callable

import keras
import numpy as np
import numpy.typing as npt
import pytest
import tensorflow as tf

from service.contract.data_spec import BundledData, RandomData
from service.contract.model_spec import Baseline, Improved
from service.contract.plan import Plan
from service.contract.recording_spec import Statistic
from service.contract.spec import ExperimentSpec
from service.contract.training_spec import TrainingSpec
from tests.support.plans import plan_of
from tests.support.training_runs import run_of
from worker.training import losses, program
from worker.training.data import Data, Floats, load
from worker.training.keras_model import build_model
from worker.training.keras_session import KerasSession

Float64s = npt.NDArray[np.float64]

FACTOR = 1.001  # an error that each comparison must detect
DIFFERENCE_TOLERANCE = 1e-6  # central differences with a step of 1e-5: truncation and rounding are both near 1e-11
TAPE_TOLERANCE = 1e-5

SMALL_NETWORKS: dict[str, tuple[Baseline | Improved, RandomData | BundledData]] = {
    "baseline, binary": (Baseline(depth=2, width=3), RandomData(samples=12, features=4)),
    "baseline, softmax": (Baseline(depth=2, width=3), BundledData(source="iris", scale="standard")),
    "improved, binary": (Improved(depth=2, width=3), RandomData(samples=12, features=4)),
    "improved, softmax": (Improved(depth=2, width=3), BundledData(source="iris", scale="standard")),
}
PRESETS: dict[str, Baseline | Improved] = {"baseline": Baseline(), "improved": Improved()}


@pytest.fixture
def wrong_loss(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make every loss, and so every gradient, wrong by a thousandth."""
    right: Callable[..., tf.Tensor] = losses.sample_losses
    monkeypatch.setattr(program, "sample_losses", lambda *arguments: right(*arguments) * FACTOR)


def one_step(model: Baseline | Improved, data: RandomData | BundledData, precision: str) -> Plan:
    """A run with a single step on all samples."""
    samples = data.samples if isinstance(data, RandomData) else 150
    training = TrainingSpec(epochs=1, batch_size=samples, validation_split=0.0, shuffle=False)
    return plan_of(ExperimentSpec(model=model, data=data, training=training).resolved(), precision)


def recorded_norms(planned: Plan, data: Data, model: keras.Model) -> Float64s:
    (chunk,) = run_of(planned, data, model=model).chunks()
    return np.asarray(chunk.recorded[Statistic.GRADIENT_NORM][0], np.float64)


def assert_norms_agree(found: Float64s, expected: Float64s, tolerance: float) -> None:
    assert np.all(expected > 0)
    difference = np.max(np.abs(found / expected - 1))
    assert difference <= tolerance, f"norms differ by {difference:.1e}"


# ---------------------------------------------------------------- finite differences


def moved_network(planned: Plan) -> keras.Model:
    """The network with every variable moved from its initial value, including biases, gamma and beta."""
    model = build_model(planned, KerasSession())
    random = np.random.default_rng(3)
    for variable in model.trainable_variables:
        variable.assign(variable.numpy() + 0.5 * random.standard_normal(variable.shape))
    return model


def mean_loss(model: Baseline | Improved, values: list[Float64s], data: Data) -> float:
    """The training loss in NumPy."""
    remaining = iter(values)
    h: Float64s = np.asarray(data.x_train, np.float64)
    for _ in range(model.depth):
        h = h @ next(remaining) + next(remaining)
        if isinstance(model, Improved):
            h = np.maximum(h, 0)
            h = (h - h.mean(axis=0)) / np.sqrt(h.var(axis=0) + 1e-3)  # Keras's default epsilon
            h = h * next(remaining) + next(remaining)
        else:
            h = 1 / (1 + np.exp(-h))
    logits = h @ next(remaining) + next(remaining)
    labels = np.asarray(data.y_train, np.int64)
    if logits.shape[1] == 1:
        return float(np.mean(np.log1p(np.exp(logits[:, 0])) - labels * logits[:, 0]))
    return float(np.mean(np.log(np.exp(logits).sum(axis=1)) - logits[np.arange(len(labels)), labels]))


def difference_norms(model: Baseline | Improved, values: list[Float64s], data: Data, step: float = 1e-5) -> Float64s:
    """Frobenius norm of each variable's gradient by central differences, entry by entry."""

    def slope(entries: Float64s, i: int) -> float:
        middle = entries[i]
        losses = []
        for entries[i] in (middle + step, middle - step):
            losses.append(mean_loss(model, values, data))
        entries[i] = middle
        return (losses[0] - losses[1]) / (2 * step)

    flat = [value.reshape(-1) for value in values]  # views
    return np.array([np.linalg.norm([slope(entries, i) for i in range(len(entries))]) for entries in flat])


def compare_with_differences(name: str) -> None:
    planned = one_step(*SMALL_NETWORKS[name], "float64")
    data = load(planned)
    model = moved_network(planned)
    expected = difference_norms(SMALL_NETWORKS[name][0], [v.numpy().copy() for v in model.trainable_variables], data)

    found = recorded_norms(planned, data, model)

    assert_norms_agree(found, expected, DIFFERENCE_TOLERANCE)


@pytest.mark.parametrize("name", SMALL_NETWORKS)
def test_norms_equal_those_of_finite_differences(name: str) -> None:
    compare_with_differences(name)


@pytest.mark.usefixtures("wrong_loss")
@pytest.mark.parametrize("name", SMALL_NETWORKS)
def test_finite_differences_detect_a_gradient_that_is_wrong_by_a_thousandth(name: str) -> None:
    with pytest.raises(AssertionError, match="norms differ"):
        compare_with_differences(name)


# ---------------------------------------------------------------- the tape


def tape_norms(model: keras.Model, x: Floats, y: npt.NDArray[np.generic]) -> Float64s:
    with tf.GradientTape() as tape:
        loss = keras.losses.BinaryCrossentropy(dtype=x.dtype.name)(y[:, None], model(x, training=True))
    gradients = tape.gradient(loss, [v.value for v in model.trainable_variables])
    return np.array([np.linalg.norm(np.asarray(gradient, np.float64)) for gradient in gradients])


def compare_with_tape(name: str) -> None:
    planned = one_step(PRESETS[name], RandomData(samples=32), "float32")
    data, model = load(planned), build_model(planned, KerasSession())
    expected = tape_norms(model, data.x_train, data.y_train)

    found = recorded_norms(planned, data, model)

    assert_norms_agree(found, expected, TAPE_TOLERANCE)


@pytest.mark.parametrize("name", PRESETS)
def test_float32_norms_of_the_first_step_equal_those_of_the_tape(name: str) -> None:
    compare_with_tape(name)


@pytest.mark.usefixtures("wrong_loss")
@pytest.mark.parametrize("name", PRESETS)
def test_the_tape_detects_a_gradient_that_is_wrong_by_a_thousandth(name: str) -> None:
    with pytest.raises(AssertionError, match="norms differ"):
        compare_with_tape(name)


def test_the_tiny_norm_of_the_first_of_forty_sigmoid_layers_does_not_underflow() -> None:
    # given the same weights in both precisions
    planned, exact = (one_step(Baseline(depth=40), RandomData(samples=32), p) for p in ("float32", "float64"))
    data, exact_data = load(planned), load(exact)
    model, exact_model = build_model(planned, KerasSession()), build_model(exact, KerasSession())
    exact_model.set_weights(model.get_weights())
    expected = tape_norms(exact_model, exact_data.x_train, exact_data.y_train)

    # when
    found = recorded_norms(planned, data, model)

    # then
    assert 0 < expected[0] < 1e-20  # its square is below the smallest float32
    assert_norms_agree(found, expected, 1e-3)
