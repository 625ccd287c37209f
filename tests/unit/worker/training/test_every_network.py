"""Recorded norms of every activation × normalization × residual form, and of every allowed layer, in float64.

They equal the norms of finite differences of the loss, entry by entry, and the norms of TensorFlow's tape over the same
Keras model with Keras's loss.
"""

import json
from collections.abc import Callable, Iterator
from typing import Any, get_args

import keras
import numpy as np
import numpy.typing as npt
import pytest
import tensorflow as tf
from keras import layers as kl

from service.contract.model_spec import HiddenActivation
from service.contract.network.keras_layers import LAYERS
from service.contract.plan import Plan
from service.contract.recording_spec import Statistic
from tests.support.plans import plan_of
from tests.support.training_runs import run_of, seed_noise, variable_order
from worker.training import losses, program
from worker.training.data import Data, load
from worker.training.keras_model import build_model
from worker.training.keras_session import KerasSession

Float64s = npt.NDArray[np.float64]
Floats = npt.NDArray[np.floating]
Labels = npt.NDArray[np.generic]

SAMPLES = 8  # in the only batch
STEP = 1e-6
DIFFERENCE_TOLERANCE = 2e-5  # of norms: truncation is about 1e-9, and more if a kink is between w − STEP and w + STEP
TAPE_TOLERANCE = 1e-10

ACTIVATIONS = get_args(HiddenActivation)
NORMALIZATIONS: dict[str, dict[str, str]] = {
    "plain": {},
    "batch after": {"normalization": "batch", "normalization_position": "after_activation"},
    "batch before": {"normalization": "batch", "normalization_position": "before_activation"},
    "layer after": {"normalization": "layer", "normalization_position": "after_activation"},
    "layer before": {"normalization": "layer", "normalization_position": "before_activation"},
}
FORMS = [
    pytest.param({**normalization, "residual": residual}, id=f"{name}, {residual}")
    for residual in ("none", "post_activation", "pre_activation")
    for name, normalization in NORMALIZATIONS.items()
    if not (residual == "pre_activation" and name.endswith("after"))
]


@pytest.fixture(autouse=True, scope="module")
def without_tracing() -> Iterator[None]:
    """Run TensorFlow functions eagerly, because tracing takes most of a second per network."""
    tf.config.run_functions_eagerly(True)
    yield
    tf.config.run_functions_eagerly(False)
    KerasSession().clear()


def moved_network(planned: Plan) -> keras.Model:
    """The network with every variable moved from its initial value, and with the noise states of step 0."""
    model = build_model(planned, KerasSession())
    random = np.random.default_rng(3)
    for variable in model.trainable_variables:
        variable.assign(variable.numpy() + 0.3 * random.standard_normal(variable.shape))
    seed_noise(planned, model)
    return model


def loss_of(planned: Plan) -> Callable[[Any, Any], Any]:
    """Keras's loss of the plan's objective, as a function of labels and outputs."""
    kind = planned.objective.loss
    if kind == "categorical_crossentropy":
        loss: Callable[[Any, Any], Any] = keras.losses.SparseCategoricalCrossentropy(dtype="float64")
        return loss
    if kind == "binary_crossentropy":
        binary = keras.losses.BinaryCrossentropy(dtype="float64")
        return lambda labels, outputs: binary(labels[:, None], outputs)
    raise AssertionError(kind)


def recorded(planned: Plan, data: Data, model: keras.Model) -> Float64s:
    chunk = next(run_of(planned, data, model=model).chunks())
    return np.asarray(chunk.recorded[Statistic.GRADIENT_NORM][0], np.float64)


def by_tape(planned: Plan, x: Floats, y: Labels, model: keras.Model) -> Float64s:
    states = [(v, v.numpy()) for v in model.non_trainable_variables]
    with tf.GradientTape() as tape:
        loss = loss_of(planned)(y, model(x, training=True))
    for variable, value in states:
        variable.assign(value)  # undo what the training mode has changed
    gradients = tape.gradient(loss, [v.value for v in model.trainable_variables])
    norms = [np.linalg.norm(np.asarray(tf.convert_to_tensor(gradient))) for gradient in gradients]
    return np.array(norms)[variable_order(planned, model)]


def by_differences(planned: Plan, x: Floats, y: Labels, model: keras.Model) -> Float64s:
    """The norm of each variable's gradient, from two losses per entry."""
    fixed = [v.value for v in model.non_trainable_variables]
    shapes = [tuple(v.shape) for v in model.trainable_variables]
    sizes = [int(np.prod(shape)) for shape in shapes]
    inputs, labels = tf.constant(x), tf.constant(y)

    def loss_at(flat: tf.Tensor) -> tf.Tensor:
        values = [tf.reshape(part, shape) for part, shape in zip(tf.split(flat, sizes), shapes, strict=True)]
        outputs, _ = model.stateless_call(values, fixed, inputs, training=True)
        return loss_of(planned)(labels, outputs)

    tf.config.run_functions_eagerly(False)
    compiled = tf.function(loss_at, autograph=False)
    flat = np.concatenate([v.numpy().reshape(-1) for v in model.trainable_variables])
    slopes = np.empty(len(flat))
    for i in range(len(flat)):
        step = np.zeros(len(flat))
        step[i] = STEP
        slopes[i] = (float(compiled(tf.constant(flat + step))) - float(compiled(tf.constant(flat - step)))) / (2 * STEP)
    tf.config.run_functions_eagerly(True)
    parts = np.split(slopes, np.cumsum(sizes)[:-1])
    return np.array([np.linalg.norm(part) for part in parts])[variable_order(planned, model)]


def assert_agree(found: Float64s, expected: Float64s, tolerance: float) -> None:
    np.testing.assert_allclose(found, expected, rtol=tolerance, atol=tolerance * np.max(expected))


def compare(planned: Plan) -> None:
    data, model = load(planned), moved_network(planned)
    x, y = data.x_train[:SAMPLES], data.y_train[:SAMPLES]
    expected = by_tape(planned, x, y, model)
    differences = by_differences(planned, x, y, model)

    found = recorded(planned, data, model)

    assert len(found) == len(planned.variables) > 0
    assert np.all(np.isfinite(found))
    assert_agree(found, expected, TAPE_TOLERANCE)
    assert_agree(found, differences, DIFFERENCE_TOLERANCE)


ONE_STEP = {"epochs": 1, "validation_split": 0.0, "shuffle": False, "precision": "float64"}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_norms_of_any_perceptron_equal_those_of_the_loss(activation: str, form: dict[str, str]) -> None:
    compare(
        plan_of(
            model={"kind": "mlp", "depth": 2, "width": 3, "activation": activation, "residual_scale": 0.7, **form},
            data={"source": "random", "samples": SAMPLES, "features": 3},
            training={**ONE_STEP, "batch_size": SAMPLES},
        )
    )


def test_the_comparison_detects_a_loss_that_is_wrong_by_a_thousandth(monkeypatch: pytest.MonkeyPatch) -> None:
    right = losses.sample_losses
    monkeypatch.setattr(program, "sample_losses", lambda *arguments: right(*arguments) * 1.001)

    with pytest.raises(AssertionError):
        test_norms_of_any_perceptron_equal_those_of_the_loss("tanh", {})


# ---------------------------------------------------------------- layers

IMAGE, SEQUENCE, VECTOR, TOKENS = (8, 8, 1), (5, 2), (4,), (6,)
Network = Callable[[Any], Any]


def classified(inputs: Any, hidden: Any, classes: int) -> keras.Model:
    if len(hidden.shape) > 2:
        hidden = kl.Flatten()(hidden)
    return keras.Model(inputs, kl.Dense(classes, activation="softmax")(hidden))


def small(x: Any) -> Any:
    """Reduce digits to a small image with two channels, so that finite differences have few entries."""
    return kl.Conv2D(2, 3, strides=3, padding="same", activation="tanh")(x)


NETWORKS: dict[str, list[tuple[tuple[int, ...], Network]]] = {
    "Dense": [
        (VECTOR, lambda x: kl.Dense(3, activation="gelu", use_bias=False)(x)),
        (SEQUENCE, lambda x: kl.Dense(2)(x)),
    ],
    "Embedding": [(TOKENS, lambda x: kl.Embedding(6, 2)(x))],
    "Activation": [
        (VECTOR, lambda x, a=a: kl.Activation(a)(kl.Dense(3)(x)))  # type: ignore[misc]
        for a in ("mish", "hard_sigmoid", "softsign", "log_softmax", "squareplus", "celu", "hard_silu")
    ],
    "ReLU": [(VECTOR, lambda x: kl.ReLU(6.0, 0.1, 0.2)(kl.Dense(3)(x)))],
    "LeakyReLU": [(VECTOR, lambda x: kl.LeakyReLU(0.2)(kl.Dense(3)(x)))],
    "ELU": [(VECTOR, lambda x: kl.ELU(0.7)(kl.Dense(3)(x)))],
    "PReLU": [
        (VECTOR, lambda x: kl.PReLU()(kl.Dense(3)(x))),
        (IMAGE, lambda x: kl.PReLU(shared_axes=[1, 2])(small(x))),
    ],
    "Softmax": [(VECTOR, lambda x: kl.Softmax()(kl.Dense(3)(x)))],
    "BatchNormalization": [
        (VECTOR, lambda x: kl.BatchNormalization()(kl.Dense(3)(x))),
        (IMAGE, lambda x: kl.BatchNormalization(scale=False)(small(x))),
    ],
    "LayerNormalization": [(SEQUENCE, lambda x: kl.LayerNormalization(center=False)(kl.Dense(3)(x)))],
    "GroupNormalization": [(IMAGE, lambda x: kl.GroupNormalization(2)(small(x)))],
    "UnitNormalization": [(VECTOR, lambda x: kl.UnitNormalization()(kl.Dense(3)(x)))],
    "Dropout": [(VECTOR, lambda x: kl.Dropout(0.4)(kl.Dense(5)(x)))],
    "AlphaDropout": [(VECTOR, lambda x: kl.AlphaDropout(0.4)(kl.Dense(5, "selu")(x)))],
    "GaussianDropout": [(VECTOR, lambda x: kl.GaussianDropout(0.4)(kl.Dense(5)(x)))],
    "GaussianNoise": [(VECTOR, lambda x: kl.GaussianNoise(0.5)(kl.Dense(5)(x)))],
    "SpatialDropout1D": [(SEQUENCE, lambda x: kl.SpatialDropout1D(0.4)(kl.Dense(4)(x)))],
    "SpatialDropout2D": [(IMAGE, lambda x: kl.SpatialDropout2D(0.4)(small(x)))],
    "Identity": [(VECTOR, lambda x: kl.Identity()(kl.Dense(3)(x)))],
    "Flatten": [(SEQUENCE, lambda x: kl.Flatten()(kl.Dense(3)(x)))],
    "Reshape": [(VECTOR, lambda x: kl.Reshape((2, -1))(kl.Dense(4)(x)))],
    "Permute": [(SEQUENCE, lambda x: kl.Dense(2)(kl.Permute((2, 1))(kl.Dense(3)(x))))],
    "RepeatVector": [(VECTOR, lambda x: kl.Dense(2)(kl.RepeatVector(3)(kl.Dense(3, "tanh")(x))))],
    "Rescaling": [(VECTOR, lambda x: kl.Rescaling(0.5, 1.0)(kl.Dense(3)(x)))],
    **{
        merge: [(VECTOR, lambda x, m=merge: getattr(kl, m)()([kl.Dense(3, "tanh")(x), kl.Dense(3, "softplus")(x)]))]  # type: ignore[misc]
        for merge in ("Add", "Subtract", "Multiply", "Average", "Maximum", "Minimum", "Concatenate")
    },
    "Conv1D": [
        (SEQUENCE, lambda x: kl.Conv1D(2, 3, padding="causal", activation="tanh")(x)),
        (SEQUENCE, lambda x: kl.Conv1D(2, 2, dilation_rate=2, use_bias=False)(x)),
    ],
    "Conv2D": [(IMAGE, small), (IMAGE, lambda x: kl.Conv2D(2, (2, 3), strides=(2, 3))(small(x)))],
    "MaxPooling1D": [(SEQUENCE, lambda x: kl.MaxPooling1D(2, strides=1)(kl.Dense(3)(x)))],
    "AveragePooling1D": [(SEQUENCE, lambda x: kl.AveragePooling1D(2, padding="same")(kl.Dense(3)(x)))],
    "MaxPooling2D": [(IMAGE, lambda x: kl.MaxPooling2D(2, padding="same")(small(x)))],
    "AveragePooling2D": [(IMAGE, lambda x: kl.AveragePooling2D((2, 1))(small(x)))],
    "GlobalMaxPooling1D": [(SEQUENCE, lambda x: kl.GlobalMaxPooling1D()(kl.Dense(3)(x)))],
    "GlobalAveragePooling1D": [(SEQUENCE, lambda x: kl.GlobalAveragePooling1D(keepdims=True)(kl.Dense(3)(x)))],
    "GlobalMaxPooling2D": [(IMAGE, lambda x: kl.GlobalMaxPooling2D()(small(x)))],
    "GlobalAveragePooling2D": [(IMAGE, lambda x: kl.GlobalAveragePooling2D()(small(x)))],
    "ZeroPadding1D": [(SEQUENCE, lambda x: kl.ZeroPadding1D((0, 2))(kl.Dense(3)(x)))],
    "ZeroPadding2D": [(IMAGE, lambda x: kl.Conv2D(1, 3)(kl.ZeroPadding2D(((1, 0), (0, 2)))(small(x))))],
    "UpSampling1D": [(SEQUENCE, lambda x: kl.Conv1D(1, 3)(kl.UpSampling1D(2)(kl.Dense(2)(x))))],
    "UpSampling2D": [(IMAGE, lambda x: kl.Conv2D(1, 3)(kl.UpSampling2D((1, 2))(small(x))))],
    "SimpleRNN": [(SEQUENCE, lambda x: kl.SimpleRNN(2, activation="relu", return_sequences=True)(x))],
    "LSTM": [(SEQUENCE, lambda x: kl.LSTM(2, dropout=0.2, go_backwards=True)(x))],
    "GRU": [
        (SEQUENCE, lambda x: kl.GRU(2, return_sequences=True)(x)),
        (SEQUENCE, lambda x: kl.GRU(2, reset_after=False, recurrent_dropout=0.2)(x)),
    ],
}
DATA: dict[tuple[int, ...], tuple[dict[str, Any], int]] = {
    VECTOR: ({"source": "blobs", "samples": SAMPLES, "features": 4}, 3),
    IMAGE: ({"source": "digits", "scale": "minmax"}, 10),
    SEQUENCE: ({"source": "blobs", "samples": SAMPLES, "features": 10}, 3),
    TOKENS: (
        {"source": "copy_memory", "length": 2, "delay": 2, "symbols": 3, "samples": SAMPLES, "encoding": "tokens"},
        4,
    ),
}


def test_the_networks_cover_every_allowed_layer() -> None:
    assert set(NETWORKS) == set(LAYERS)


@pytest.mark.parametrize(
    ("shape", "network"),
    [pytest.param(*case, id=f"{name}-{i}") for name, cases in NETWORKS.items() for i, case in enumerate(cases)],
)
def test_norms_of_any_layer_equal_those_of_the_loss(shape: tuple[int, ...], network: Network) -> None:
    # given the configuration of a network as Keras prints it
    data, classes = DATA[shape]
    inputs = keras.Input(shape)
    if shape == TOKENS:  # one label per time step
        model = keras.Model(inputs, kl.Dense(classes, activation="softmax")(network(inputs)))
    else:
        model = classified(inputs, network(inputs), classes)
    config = json.loads(model.to_json())

    compare(plan_of(model={"kind": "keras", "config": config}, data=data, training={**ONE_STEP, "batch_size": SAMPLES}))
