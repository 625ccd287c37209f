"""Models of the benchmark as specs: perceptrons field by field, and stacks of layers as Keras configurations."""

from collections.abc import Sequence
from typing import Any

Json = dict[str, Any]

# An initializer for each activation that preserves the signal over the depths of this benchmark. Glorot and Bengio
# 2010 for tanh, He et al. 2015 for the ReLU family, LeCun et al. 1998 for SELU (Klambauer et al. 2017) and linear.
FITTING = {
    "tanh": "glorot_uniform",
    "relu": "he_normal",
    "leaky_relu": "he_uniform",
    "elu": "glorot_uniform",
    "selu": "lecun_normal",
    "gelu": "he_normal",
    "silu": "he_normal",
    "sigmoid": "glorot_uniform",
    "softplus": "glorot_uniform",
    "linear": "lecun_normal",
}
FITTING_SCALE = {"tanh": 1.0, "relu": 2.0, "leaky_relu": 1.92, "elu": 1.0, "selu": 1.0, "gelu": 2.0, "silu": 2.0}


def mlp(activation: str, depth: int, width: int, **fields: Any) -> Json:
    """A perceptron; its initializer fits its activation unless `fields` has another one."""
    named = {"kind": "mlp", "activation": activation, "depth": depth, "width": width}
    return {**named, "kernel_initializer": FITTING[activation], **fields}


def scaled(scale: float) -> Json:
    """An initializer: normal with variance scale / fan-in."""
    return {"name": "variance_scaling", "scale": scale, "mode": "fan_in", "distribution": "untruncated_normal"}


def constant(value: float) -> Json:
    """An initializer: all entries equal."""
    return {"name": "constant", "value": value}


def dense(units: int, activation: str, kernel: Json | str | None = None, bias: Json | str = "zeros") -> Json:
    """A dense layer of a stack."""
    kernel = FITTING[activation] if kernel is None else kernel
    fields = {"units": units, "activation": activation}
    return _layer("Dense", **fields, kernel_initializer=_as_keras(kernel), bias_initializer=_as_keras(bias))


def rescaling(scale: float) -> Json:
    """A layer that multiplies by a constant and has no variables."""
    return _layer("Rescaling", scale=scale)


def stack(layers: Sequence[Json], outputs: int, output_activation: str) -> Json:
    """A sequential model: layers named by their class and index, and a dense layer `output`."""
    last = _layer("Dense", units=outputs, activation=output_activation)
    named = [*((f"{layer['class_name'].lower()}_{i}", layer) for i, layer in enumerate(layers)), ("output", last)]
    entries = [{**layer, "config": {"name": name, **layer["config"]}} for name, layer in named]
    return {
        "kind": "keras",
        "config": {"module": "keras", "class_name": "Sequential", "config": {"layers": entries}},
    }


def convolutional(filters: int, activation: str, outputs: int, output_activation: str) -> Json:
    """A model with three 3 × 3 convolutions and a dense layer."""
    kernel = _as_keras(FITTING[activation])
    convolutions = [
        _layer(
            "Conv2D", filters=n, kernel_size=[3, 3], padding="same", activation=activation, kernel_initializer=kernel
        )
        for n in (filters, filters, 2 * filters)
    ]
    pooling = _layer("MaxPooling2D", pool_size=[2, 2])
    layers = [convolutions[0], convolutions[1], pooling, convolutions[2], _layer("Flatten"), dense(32, activation)]
    return stack(layers, outputs, output_activation)


def recurrent(kind: str, units: int, outputs: int, output_activation: str) -> Json:
    """A model with a recurrent layer (LSTM, GRU, SimpleRNN) over the rows of an image, and a dense layer."""
    return stack([_layer(kind, units=units), dense(32, "tanh")], outputs, output_activation)


def _layer(kind: str, **fields: Any) -> Json:
    return {"module": "keras.layers", "class_name": kind, "config": fields}


def _as_keras(initializer: Json | str) -> Json | str:
    """An initializer of a spec as a Keras configuration."""
    if isinstance(initializer, str):
        return initializer
    fields = {name: value for name, value in initializer.items() if name != "name"}
    return {"class_name": "".join(word.title() for word in initializer["name"].split("_")), "config": fields}
