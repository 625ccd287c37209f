"""A configuration is read as Keras builds it: shapes of layers; names, shapes and order of variables."""

import json
import math
from collections.abc import Callable
from typing import Any

import keras
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from keras import layers as kl

from service.contract.network import reshaping, spatial
from service.contract.network.graph import INPUT, Network
from service.contract.network.keras_config import read_keras_config
from service.contract.network.keras_layers import LAYERS
from service.contract.network.layer import Layer, Shape, ShapeMismatch
from service.contract.network.plain_json import parsed
from tests.support.hostile_configs import after, dense, functional, layer, sequential, tensor

Json = dict[str, Any]
Make = Callable[[], keras.layers.Layer]

ROW, SEQUENCE, IMAGE = (12,), (9, 4), (8, 7, 3)


def read(model: keras.Model) -> Network:
    return read_keras_config(parsed(model.to_json()))


def assert_as_keras_builds_it(model: keras.Model) -> Network:
    """Return the network of a model after a comparison of its layers and variables with the model."""
    network, input_shape = read(model), tuple(model.input_shape[1:])
    shapes = network.shapes(input_shape)
    assert {name: shape for name, shape in shapes.items() if name != INPUT} == {
        operation.name: tuple(operation.output.shape[1:])
        for operation in getattr(model, "operations", model.layers)  # a Sequential model has no `operations`
        if not isinstance(operation, kl.InputLayer)
    }
    assert network.input_shape == input_shape
    assert shapes[network.output] == tuple(model.output_shape[1:])
    ours: dict[str, list[tuple[str, Shape]]] = {}
    for variable in network.variables(input_shape):
        ours.setdefault(variable.layer, []).append((variable.name.removeprefix(f"{variable.layer}/"), variable.shape))
    theirs = {
        made.name: [(v.path.split("/")[-1], tuple(v.shape)) for v in made.trainable_variables]
        for made in model.layers
        if made.trainable_variables
    }
    assert ours == theirs
    return network


# -------------------------------------------------------------------------------------------------- every layer

ONE_INPUT: dict[str, list[tuple[Shape, Make]]] = {
    "Dense": [
        (ROW, lambda: kl.Dense(3)),
        (SEQUENCE, lambda: kl.Dense(1, activation="gelu", use_bias=False, kernel_initializer="he_normal")),
        (IMAGE, lambda: kl.Dense(2, bias_initializer=keras.initializers.Constant(0.5), trainable=False)),
        (ROW, lambda: kl.Dense(5, kernel_initializer=keras.initializers.VarianceScaling(2.0, "fan_avg", "uniform", 7))),
        (ROW, lambda: kl.Dense(4, kernel_initializer=keras.initializers.Orthogonal(gain=1.5, seed=3), dtype="float64")),
    ],
    "Embedding": [
        (ROW, lambda: kl.Embedding(30, 5)),
        (SEQUENCE, lambda: kl.Embedding(2, 1, embeddings_initializer="glorot_normal")),
    ],
    "Activation": [(ROW, lambda name=name: kl.Activation(name)) for name in ("relu", "softmax", "mish", "linear")],  # type: ignore[misc]
    "ReLU": [(ROW, kl.ReLU), (IMAGE, lambda: kl.ReLU(max_value=6, negative_slope=0.1, threshold=0.5))],
    "LeakyReLU": [(ROW, kl.LeakyReLU), (SEQUENCE, lambda: kl.LeakyReLU(negative_slope=0))],
    "ELU": [(ROW, kl.ELU), (ROW, lambda: kl.ELU(alpha=-2))],
    "PReLU": [
        (ROW, kl.PReLU),
        (IMAGE, kl.PReLU),
        (IMAGE, lambda: kl.PReLU(shared_axes=[1, 2], alpha_initializer="ones")),
        (SEQUENCE, lambda: kl.PReLU(shared_axes=(2,))),
    ],
    "Softmax": [(ROW, kl.Softmax), (SEQUENCE, lambda: kl.Softmax(axis=-1))],
    "BatchNormalization": [
        (ROW, kl.BatchNormalization),
        (IMAGE, lambda: kl.BatchNormalization(axis=3, momentum=0.5, epsilon=1e-5, center=False)),
        (SEQUENCE, lambda: kl.BatchNormalization(scale=False, gamma_initializer="uniform")),
        (ROW, lambda: kl.BatchNormalization(trainable=False)),
    ],
    "LayerNormalization": [
        (ROW, kl.LayerNormalization),
        (IMAGE, lambda: kl.LayerNormalization(axis=[3], scale=False)),
        (SEQUENCE, lambda: kl.LayerNormalization(axis=2, center=False, scale=False)),
    ],
    "GroupNormalization": [
        (ROW, lambda: kl.GroupNormalization(groups=4)),
        (IMAGE, lambda: kl.GroupNormalization(groups=-1)),
        (SEQUENCE, lambda: kl.GroupNormalization(groups=1, axis=2, scale=False)),
    ],
    "UnitNormalization": [(ROW, kl.UnitNormalization)],
    "Dropout": [(ROW, lambda: kl.Dropout(0.5)), (IMAGE, lambda: kl.Dropout(0, seed=3))],
    "AlphaDropout": [(ROW, lambda: kl.AlphaDropout(0.1, seed=1))],
    "GaussianDropout": [(ROW, lambda: kl.GaussianDropout(0.9))],
    "GaussianNoise": [(ROW, lambda: kl.GaussianNoise(1.0, seed=0))],
    "SpatialDropout1D": [(SEQUENCE, lambda: kl.SpatialDropout1D(0.5))],
    "SpatialDropout2D": [(IMAGE, lambda: kl.SpatialDropout2D(0.5, seed=3))],
    "Identity": [(ROW, kl.Identity)],
    "Flatten": [(ROW, kl.Flatten), (IMAGE, kl.Flatten)],
    "Reshape": [(ROW, lambda: kl.Reshape((2, -1, 3))), (IMAGE, lambda: kl.Reshape([168]))],
    "Permute": [(SEQUENCE, lambda: kl.Permute((2, 1))), (IMAGE, lambda: kl.Permute((3, 1, 2)))],
    "RepeatVector": [(ROW, lambda: kl.RepeatVector(5))],
    "Rescaling": [(ROW, lambda: kl.Rescaling(1 / 255)), (IMAGE, lambda: kl.Rescaling(2, offset=-1))],
    "Conv1D": [
        (SEQUENCE, lambda: kl.Conv1D(5, 3)),
        (SEQUENCE, lambda: kl.Conv1D(2, 4, strides=3, padding="same", use_bias=False, activation="relu")),
        (SEQUENCE, lambda: kl.Conv1D(1, 3, padding="causal", dilation_rate=4, kernel_initializer="orthogonal")),
    ],
    "Conv2D": [
        (IMAGE, lambda: kl.Conv2D(5, 3)),
        (IMAGE, lambda: kl.Conv2D(2, (4, 1), strides=(3, 2), padding="same", use_bias=False)),
        (IMAGE, lambda: kl.Conv2D(1, 2, dilation_rate=(1, 3), activation="tanh")),
    ],
    "MaxPooling1D": [(SEQUENCE, kl.MaxPooling1D), (SEQUENCE, lambda: kl.MaxPooling1D(3, 2, "same"))],
    "AveragePooling1D": [
        (SEQUENCE, lambda: kl.AveragePooling1D(2)),
        (SEQUENCE, lambda: kl.AveragePooling1D(4, strides=1)),
    ],
    "MaxPooling2D": [(IMAGE, kl.MaxPooling2D), (IMAGE, lambda: kl.MaxPooling2D((3, 1), (2, 4), "same"))],
    "AveragePooling2D": [(IMAGE, lambda: kl.AveragePooling2D(2)), (IMAGE, lambda: kl.AveragePooling2D(3, strides=1))],
    "GlobalMaxPooling1D": [(SEQUENCE, kl.GlobalMaxPooling1D), (SEQUENCE, lambda: kl.GlobalMaxPooling1D(keepdims=True))],
    "GlobalAveragePooling1D": [(SEQUENCE, kl.GlobalAveragePooling1D)],
    "GlobalMaxPooling2D": [(IMAGE, kl.GlobalMaxPooling2D)],
    "GlobalAveragePooling2D": [
        (IMAGE, kl.GlobalAveragePooling2D),
        (IMAGE, lambda: kl.GlobalAveragePooling2D(keepdims=True)),
    ],
    "ZeroPadding1D": [(SEQUENCE, kl.ZeroPadding1D), (SEQUENCE, lambda: kl.ZeroPadding1D((0, 3)))],
    "ZeroPadding2D": [
        (IMAGE, lambda: kl.ZeroPadding2D(2)),
        (IMAGE, lambda: kl.ZeroPadding2D((1, 3))),
        (IMAGE, lambda: kl.ZeroPadding2D(((0, 1), (2, 3)))),
    ],
    "UpSampling1D": [(SEQUENCE, kl.UpSampling1D), (SEQUENCE, lambda: kl.UpSampling1D(3))],
    "UpSampling2D": [(IMAGE, kl.UpSampling2D), (IMAGE, lambda: kl.UpSampling2D((3, 1)))],
    "SimpleRNN": [
        (SEQUENCE, lambda: kl.SimpleRNN(3)),
        (SEQUENCE, lambda: kl.SimpleRNN(2, return_sequences=True, use_bias=False, activation="relu", unroll=True)),
    ],
    "LSTM": [
        (SEQUENCE, lambda: kl.LSTM(3)),
        (SEQUENCE, lambda: kl.LSTM(2, return_sequences=True, dropout=0.2, recurrent_dropout=0.3, seed=1)),
        (SEQUENCE, lambda: kl.LSTM(2, unit_forget_bias=False, go_backwards=True, use_bias=False)),
    ],
    "GRU": [
        (SEQUENCE, lambda: kl.GRU(3)),
        (SEQUENCE, lambda: kl.GRU(2, reset_after=False, recurrent_activation="hard_sigmoid")),
        (SEQUENCE, lambda: kl.GRU(1, return_sequences=True, use_bias=False, recurrent_initializer="identity")),
    ],
}  # fmt: skip

# Each merging layer with the shapes of its inputs.
MERGED: dict[str, list[tuple[tuple[Shape, ...], Make]]] = {
    **{
        kind: [((ROW, ROW), getattr(kl, kind)), ((IMAGE, (1, 7, 1)), getattr(kl, kind))]
        for kind in ("Add", "Multiply", "Average", "Maximum", "Minimum", "Subtract")
    },
    "Concatenate": [
        ((ROW, (3,), (1,)), kl.Concatenate),
        ((SEQUENCE, (2, 4)), lambda: kl.Concatenate(axis=1)),
        ((IMAGE, (8, 2, 3)), lambda: kl.Concatenate(axis=-2)),
    ],
}
INSTANCES = [pytest.param(*case, id=f"{kind} {i}") for kind, cases in ONE_INPUT.items() for i, case in enumerate(cases)]


def test_this_module_tests_every_allowed_layer() -> None:
    assert {*ONE_INPUT, *MERGED} == set(LAYERS)


@pytest.mark.parametrize(("shape", "make"), INSTANCES)
def test_a_layer_in_a_sequential_model_is_what_keras_builds(shape: Shape, make: Make) -> None:
    network = assert_as_keras_builds_it(keras.Sequential([keras.Input(shape), make(), kl.Identity()]))

    assert [node.inputs for node in network.nodes] == [(INPUT,), (network.nodes[0].name,)]


@pytest.mark.parametrize(("shape", "make"), INSTANCES)
def test_a_layer_in_a_graph_is_what_keras_builds(shape: Shape, make: Make) -> None:
    inputs = keras.Input(shape)
    hidden = make()(kl.Identity()(inputs))

    assert_as_keras_builds_it(keras.Model(inputs, kl.Dense(2)(hidden)))


@pytest.mark.parametrize(("shape", "make"), INSTANCES)
def test_the_fields_that_are_read_are_the_arguments_of_keras(shape: Shape, make: Make) -> None:
    made = make()
    node = read(keras.Sequential([keras.Input(shape), made])).nodes[0]
    arguments = {**node.layer.arguments(), "trainable": node.layer.trainable}

    config = {k: v for k, v in made.get_config().items() if not k.endswith(("_regularizer", "_constraint"))}
    for field in set(arguments) & set(config):
        if field.endswith("_initializer"):
            ours, printed = arguments[field].model_dump(), config[field]["config"]
            assert {k: v for k, v in ours.items() if k in printed} == {k: printed[k] for k in ours if k in printed}
        elif field not in ("axis", "unroll"):  # an axis has two notations, and gradflow never unrolls
            assert json.loads(json.dumps(arguments[field])) == json.loads(json.dumps(config[field])), field
    assert set(config) - set(arguments) <= {
        *("name", "dtype", "quantization_config", "synchronized"),
        *(field for field in config if field.startswith("renorm")),
    }


@pytest.mark.parametrize(
    ("shapes", "make"), [pytest.param(*c, id=f"{kind} {i}") for kind, cs in MERGED.items() for i, c in enumerate(cs)]
)
def test_a_merge_is_what_keras_builds(shapes: tuple[Shape, ...], make: Make) -> None:
    inputs = keras.Input((4,))
    parts = [kl.Reshape(shape)(kl.Dense(keras.ops.prod(shape).numpy().item())(inputs)) for shape in shapes]

    assert_as_keras_builds_it(keras.Model(inputs, kl.Dense(2)(make()(parts))))


# -------------------------------------------------------------------------------------------------- operators

OPERATORS: dict[str, tuple[Callable[[Any, Any], Any], Layer]] = {
    "x + y": (lambda x, y: x + y, reshaping.Add()),
    "x - y": (lambda x, y: x - y, reshaping.Subtract()),
    "x * y": (lambda x, y: x * y, reshaping.Multiply()),
    "maximum": (keras.ops.maximum, reshaping.Maximum()),
    "minimum": (keras.ops.minimum, reshaping.Minimum()),
    "0.5 * x": (lambda x, _: 0.5 * x, reshaping.Rescaling(scale=0.5)),
    "x * 2": (lambda x, _: x * 2, reshaping.Rescaling(scale=2.0)),
    "x + 1": (lambda x, _: x + 1, reshaping.Rescaling(scale=1.0, offset=1.0)),
    "3.0 + x": (lambda x, _: 3.0 + x, reshaping.Rescaling(scale=1.0, offset=3.0)),
    "x - 1.0": (lambda x, _: x - 1.0, reshaping.Rescaling(scale=1.0, offset=-1.0)),
    "2.0 - x": (lambda x, _: 2.0 - x, reshaping.Rescaling(scale=-1.0, offset=2.0)),
    "x / 4.0": (lambda x, _: x / 4.0, reshaping.Rescaling(scale=0.25)),
    "add": (keras.ops.add, reshaping.Add()),
}


@pytest.mark.parametrize("name", OPERATORS)
def test_an_operator_becomes_the_layer_that_computes_the_same(name: str) -> None:
    operate, expected = OPERATORS[name]
    inputs = keras.Input((3,))
    hidden = kl.Dense(3)(inputs)
    model = keras.Model(inputs, kl.Dense(1)(operate(hidden, inputs)))

    network = assert_as_keras_builds_it(model)

    found = network.nodes[1]
    assert found.layer == expected
    assert found.inputs == (
        (network.nodes[0].name, INPUT) if isinstance(expected, reshaping.MERGES) else (network.nodes[0].name,)
    )


@pytest.mark.parametrize(
    "operate", [lambda x: 4.0 / x, lambda x: -x, lambda x: x**2, keras.ops.exp, lambda x: x[:, :2]]
)
def test_other_operators_are_refused_by_name(operate: Callable[[Any], Any]) -> None:
    inputs = keras.Input((3,))
    model = keras.Model(inputs, kl.Dense(1)(operate(inputs)))
    name = model.operations[1].name

    with pytest.raises(ValueError, match=f"^layer '{name}'"):
        read(model)


# -------------------------------------------------------------------------------------------------- whole networks


def residual() -> keras.Model:
    inputs = keras.Input((20,))
    hidden = kl.Dense(16, activation="relu")(inputs)
    for _ in range(3):
        block = kl.Dense(16)(kl.ReLU()(kl.BatchNormalization()(hidden)))
        hidden = kl.Add()([hidden, 0.5 * block])
    return keras.Model(inputs, kl.Dense(1, activation="sigmoid")(hidden))


def dense_net() -> keras.Model:
    inputs = keras.Input((20,))
    hidden = inputs
    for _ in range(3):
        hidden = kl.Concatenate()([hidden, kl.Dense(4, activation="selu")(hidden)])
    return keras.Model(inputs, kl.Dense(2, activation="softmax")(hidden))


def highway() -> keras.Model:
    inputs = keras.Input((8, 8, 1))
    hidden = kl.Conv2D(4, 3, padding="same")(inputs)
    gate = kl.Conv2D(4, 1, activation="sigmoid")(hidden)
    hidden = kl.Multiply()([gate, hidden]) + (1.0 - gate) * kl.Conv2D(4, 3, padding="same")(hidden)
    pooled = kl.Average()([kl.GlobalMaxPooling2D()(hidden), kl.GlobalAveragePooling2D()(hidden)])
    return keras.Model(inputs, kl.Dense(10)(pooled))


def stacked_recurrent() -> keras.Model:
    inputs = keras.Input((9, 4))
    up = kl.LSTM(6, return_sequences=True)(inputs)
    down = kl.GRU(6, return_sequences=True, go_backwards=True)(inputs)
    both = kl.LayerNormalization()(kl.Maximum()([up, down]) / 2)
    return keras.Model(inputs, kl.Dense(3)(kl.SimpleRNN(5)(both)))


@pytest.mark.parametrize("make", [residual, dense_net, highway, stacked_recurrent])
def test_typical_networks_are_what_keras_builds(make: Callable[[], keras.Model]) -> None:
    model = make()

    network = assert_as_keras_builds_it(model)

    assert network.reached == {node.name for node in network.nodes}


def test_layers_listed_before_their_inputs_are_sorted() -> None:
    config = parsed(residual().to_json())
    config["config"]["layers"].reverse()

    network = read_keras_config(config)

    seen = {INPUT}
    for node in network.nodes:
        assert set(node.inputs) <= seen
        seen.add(node.name)


def test_a_sequential_model_may_leave_its_input_open() -> None:
    network = read(keras.Sequential([kl.Dense(3), kl.Dense(1)]))

    assert network.input_shape is None
    assert [node.layer.output_shape((7,)) for node in network.nodes] == [(3,), (1,)]


def test_an_input_may_leave_a_dimension_open() -> None:
    network = read(keras.Sequential([keras.Input((None, 2)), kl.LSTM(3)]))

    assert network.input_shape == (None, 2)
    assert network.shapes((50, 2))[network.output] == (3,)


@pytest.mark.parametrize("policy", ["float32", "float64"])
def test_the_dtype_of_a_layer_has_no_effect(policy: str) -> None:
    model = keras.Sequential([keras.Input((2,), dtype=policy), kl.Dense(3, dtype=policy)])

    assert read(model) == read(keras.Sequential([keras.Input((2,)), kl.Dense(3, name=model.layers[0].name)]))


def test_compile_and_build_configurations_are_ignored() -> None:
    model = keras.Sequential([keras.Input((2,)), kl.Dense(1)])
    plain = read(model)
    model.compile("adam", "mse", metrics=["mae"])

    assert read(model) == plain


# -------------------------------------------------------------------------------------------------- shape arithmetic

sizes = st.integers(1, 12)
paddings = st.sampled_from(["valid", "same"])


def agrees(ours: Layer, theirs: Callable[[], keras.layers.Layer], shape: Shape) -> None:
    """Check that gradflow and Keras give the same shape, or both refuse the input."""
    try:
        expected = tuple(theirs().compute_output_shape((None, *shape))[1:])
    except ValueError:
        expected = (0,)
    if min(expected) < 1:
        with pytest.raises(ShapeMismatch):
            ours.output_shape(shape)
    else:
        assert ours.output_shape(shape) == expected


@given(
    steps=sizes,
    kernel=st.integers(1, 6),
    stride=st.integers(1, 6),
    dilation=st.integers(1, 5),
    padding=st.sampled_from(["valid", "same", "causal"]),
)
def test_convolution_of_a_sequence(steps: int, kernel: int, stride: int, dilation: int, padding: str) -> None:
    arguments = {"filters": 2, "kernel_size": kernel, "strides": stride, "dilation_rate": dilation, "padding": padding}

    agrees(spatial.Conv1D.model_validate(arguments), lambda: kl.Conv1D(**arguments), (steps, 3))


@given(
    size=st.tuples(sizes, sizes),
    kernel=st.tuples(st.integers(1, 6), st.integers(1, 6)),
    strides=st.tuples(st.integers(1, 5), st.integers(1, 5)),
    dilation=st.tuples(st.integers(1, 4), st.integers(1, 4)),
    padding=paddings,
)
def test_convolution_of_an_image(
    size: tuple[int, int], kernel: tuple[int, int], strides: tuple[int, int], dilation: tuple[int, int], padding: str
) -> None:
    arguments = {"filters": 4, "kernel_size": kernel, "strides": strides, "dilation_rate": dilation, "padding": padding}

    agrees(spatial.Conv2D.model_validate(arguments), lambda: kl.Conv2D(**arguments), (*size, 3))


@pytest.mark.parametrize("kind", ["MaxPooling1D", "AveragePooling1D"])
@given(steps=sizes, pool=st.integers(1, 6), stride=st.none() | st.integers(1, 6), padding=paddings)
def test_pooling_of_a_sequence(kind: str, steps: int, pool: int, stride: int | None, padding: str) -> None:
    arguments = {"pool_size": pool, "strides": stride, "padding": padding}

    agrees(LAYERS[kind].model_validate(arguments), lambda: getattr(kl, kind)(**arguments), (steps, 3))


@pytest.mark.parametrize("kind", ["MaxPooling2D", "AveragePooling2D"])
@given(
    size=st.tuples(sizes, sizes),
    pool=st.tuples(st.integers(1, 6), st.integers(1, 6)),
    strides=st.none() | st.tuples(st.integers(1, 5), st.integers(1, 5)),
    padding=paddings,
)
def test_pooling_of_an_image(
    kind: str, size: tuple[int, int], pool: tuple[int, int], strides: tuple[int, int] | None, padding: str
) -> None:
    arguments = {"pool_size": pool, "strides": strides, "padding": padding}

    agrees(LAYERS[kind].model_validate(arguments), lambda: getattr(kl, kind)(**arguments), (*size, 2))


@given(shape=st.lists(sizes, min_size=1, max_size=4), target=st.lists(st.integers(-1, 12), min_size=1, max_size=4))
def test_reshaping(shape: list[int], target: list[int]) -> None:
    if 0 in target or target.count(-1) > 1:
        return  # Keras accepts an empty array, and one of two open sizes by accident
    agrees(reshaping.Reshape(target_shape=tuple(target)), lambda: kl.Reshape(target), tuple(shape))


# -------------------------------------------------------------------------------------------------- refused


REFUSED_MODELS: dict[str, Callable[[], keras.Model]] = {
    "Lambda": lambda: keras.Sequential([keras.Input((2,)), kl.Lambda(lambda x: x)]),
    "is a nested network": lambda: keras.Sequential([keras.Input((2,)), keras.Sequential([kl.Dense(1)])]),
    "kernel_regularizer": lambda: keras.Sequential([keras.Input((2,)), kl.Dense(1, kernel_regularizer="l2")]),
    "kernel_constraint": lambda: keras.Sequential([keras.Input((2,)), kl.Dense(1, kernel_constraint="max_norm")]),
    "mask_zero": lambda: keras.Sequential([keras.Input((2,)), kl.Embedding(3, 2, mask_zero=True)]),
    "stateful": lambda: keras.Sequential([keras.Input((2, 2)), kl.LSTM(2, stateful=True)]),
    "groups": lambda: keras.Sequential([keras.Input((4, 4)), kl.Conv1D(4, 1, groups=2)]),
    "MultiHeadAttention": lambda: attention(),
    "used exactly once": lambda: shared(),
    "dtype": lambda: keras.Sequential([keras.Input((2,)), kl.Dense(1, dtype="mixed_float16")]),
    "one input": lambda: two_inputs(),
    "output_layers": lambda: two_outputs(),
}


def attention() -> keras.Model:
    inputs = keras.Input((3, 4))
    return keras.Model(inputs, kl.MultiHeadAttention(1, 2)(inputs, inputs))


def shared() -> keras.Model:
    inputs, once = keras.Input((2,)), kl.Dense(2)
    return keras.Model(inputs, once(once(inputs)))


def two_inputs() -> keras.Model:
    inputs = [keras.Input((2,)), keras.Input((2,))]
    return keras.Model(inputs, kl.Add()(inputs))


def two_outputs() -> keras.Model:
    inputs = keras.Input((2,))
    return keras.Model(inputs, [kl.Dense(1)(inputs), kl.Dense(1)(inputs)])


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("says", REFUSED_MODELS)
def test_unsupported_keras_models_are_refused_with_the_name_of_the_layer(says: str) -> None:
    with pytest.raises(ValueError, match=says):
        read(REFUSED_MODELS[says]())


PRINTED = [make().to_json() for make in (residual, dense_net, highway, stacked_recurrent)]
ODD: list[Any] = [
    *(None, True, 0, 1, -1, 7, 2**31, 2**53 - 1, 10**400, 0.5, -0.5, 1e-320, 1e300, "", "relu", "orthogonal", "a/b"),
    *([], [1], [2, 2], [-1], [[1, 1], [1, 1]], [None], {}, {"class_name": "Constant", "config": {"value": 2}}),
]


def places(value: Any) -> list[tuple[Any, ...]]:
    """Return the paths to all values within a value."""
    inside = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path for key, part in inside for path in ((key,), *((key, *rest) for rest in places(part)))]


@settings(max_examples=400)
@given(data=st.data())
def test_any_value_in_any_place_is_read_completely_or_refused(data: st.DataObject) -> None:
    config = json.loads(data.draw(st.sampled_from(PRINTED)))
    path = data.draw(st.sampled_from(places(config)))
    within = config
    for key in path[:-1]:
        within = within[key]
    within[path[-1]] = data.draw(st.sampled_from(ODD))
    try:
        network = read_keras_config(config)
        shapes = network.shapes(tuple(size or 3 for size in network.input_shape or (20,)))
    except ValueError:
        return

    sized = network.sized(shapes[INPUT])
    assert sized.parameter_count >= 0
    assert sized.values_per_sample >= sum(map(math.prod, shapes.values())) > 0
    assert set(network.depths) == set(shapes)


def test_the_error_names_the_first_bad_field_of_a_layer() -> None:
    with pytest.raises(ValueError, match=r"^layer 'a' \(Dense\): units: Input should be greater than or equal to 1$"):
        read_keras_config(sequential(dense("a", 0)))


def test_a_configuration_written_by_hand_needs_only_the_required_fields() -> None:
    network = read_keras_config(
        functional(after(layer("Dense", "a", units=20), tensor("data")), after(dense(), tensor("a")))
    )

    assert [node.name for node in network.nodes] == ["a", "end"]
    assert network.output == "end"
