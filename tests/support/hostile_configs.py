"""Configurations of Keras models that try to run code, read files or exhaust a machine.

The key of each names its only fault. `says` are parts of the message that refuses it.
"""

import base64
import json
import marshal
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

Json = dict[str, Any]

LAYER = "layer 'bad'"
TOUCHED = "/tmp/gradflow-was-here"  # noqa: S108 - never written


@dataclass(frozen=True)
class Hostile:
    """A configuration, or its text if `raw` is set, and the expected answer."""

    config: Callable[[], Any]
    says: tuple[str, ...]
    status: int = 422
    raw: bool = False

    @property
    def body(self) -> bytes:
        """The body of a request that submits the configuration."""
        config = self.config() if self.raw else json.dumps(self.config())
        return b'{"model": {"kind": "keras", "config": ' + config.encode() + b"}}"


# -------------------------------------------------------------------------------------------------- what Keras writes


def layer(kind: Any, name: Any = "bad", module: Any = "keras.layers", **fields: Any) -> Json:
    """Return an entry of the layers of a Sequential model."""
    return {"module": module, "class_name": kind, "config": {"name": name, **fields}, "registered_name": None}


def sequential(*layers: Json, shape: list[Any] | None = None, **top: Any) -> Json:
    """Return a Sequential model whose samples have 20 values, or another shape."""
    first = layer("InputLayer", "data", batch_shape=[None, *(shape or [20])])
    inner = {"name": "own", "layers": [first, *layers]}
    return {"module": "keras", "class_name": "Sequential", "config": inner, **top}


def tensor(name: Any, node: Any = 0, index: Any = 0) -> Json:
    """Return the output of a layer, as an argument of another layer."""
    return {"class_name": "__keras_tensor__", "config": {"keras_history": [name, node, index]}}


def after(entry: Json, *arguments: Any, **kwargs: Any) -> Json:
    """Return an entry of the layers of a functional model, called with these arguments."""
    return {**entry, "inbound_nodes": [{"args": list(arguments), "kwargs": kwargs}]}


def functional(*layers: Json, output: Any = ("end", 0, 0)) -> Json:
    """Return a functional model whose input layer `data` has samples of 20 values."""
    first = {**layer("InputLayer", "data", batch_shape=[None, 20]), "inbound_nodes": []}
    ends = {"input_layers": [["data", 0, 0]], "output_layers": [list(output)] if isinstance(output, tuple) else output}
    inner = {"name": "own", "layers": [first, *layers], **ends}
    return {"module": "keras", "class_name": "Functional", "config": inner}


def dense(name: str = "end", units: Any = 1, **fields: Any) -> Json:
    """Return a valid dense layer."""
    return layer("Dense", name, units=units, **fields)


def custom(name: str, module: str | None = "builtins", **config: Any) -> Json:
    """Return an object as Keras writes it."""
    return {"module": module, "class_name": name, "config": config, "registered_name": f"Evil>{name}"}


def bytecode() -> str:
    """Return a function that runs a command, as Keras 2 wrote it into a Lambda layer."""
    code = compile(f"lambda x: __import__('os').system('touch {TOUCHED}')", "<lambda>", "eval").co_consts[0]
    return base64.b64encode(marshal.dumps(code)).decode()


def _alone(kind: str, *rest: Json, shape: list[Any] | None = None, **fields: Any) -> Callable[[], Json]:
    return lambda: sequential(layer(kind, **fields), *rest, dense(), shape=shape)


def _dense(units: Any = 1, **fields: Any) -> Callable[[], Json]:
    return lambda: sequential(dense("bad", units, **fields))


def _alone_frozen() -> Json:
    return sequential(dense("bad", trainable=False))


def _joined(*entries: Json, output: Any = ("end", 0, 0)) -> Callable[[], Json]:
    return lambda: functional(*entries, output=output)


def _end_after(name: str) -> Json:
    return after(dense(), tensor(name))


# -------------------------------------------------------------------------------------------------- code


def _lambda(**fields: Any) -> Callable[[], Json]:
    return _alone("Lambda", **fields)


CODE = {
    "lambda with bytecode": Hostile(
        lambda: sequential(
            layer(
                "Lambda",
                function={
                    "class_name": "__lambda__",
                    "config": {"code": bytecode(), "defaults": None, "closure": None},
                },
            )
        ),
        (LAYER, "Lambda", "carries code"),
    ),
    "lambda with bytecode as Keras 2 printed it": Hostile(
        lambda: sequential(layer("Lambda", function=[bytecode(), None, None], function_type="lambda")),
        (LAYER, "carries code"),
    ),
    "lambda by the name of a function": Hostile(
        _lambda(function={"module": "os", "class_name": "function", "config": "system", "registered_name": "system"}),
        (LAYER, "carries code"),
    ),
    "lambda as an operator": Hostile(
        _joined(after(layer("Lambda", module="keras.ops"), tensor("data"), 2.0), _end_after("bad")),
        (LAYER, "Lambda", "is not supported"),
    ),
    "lambda in lower case": Hostile(_alone("lambda"), (LAYER, "is not supported; the supported layers")),
    "torch module": Hostile(_alone("TorchModuleWrapper", pickled="gASVAAAA"), (LAYER, "carries code")),
    "jax layer": Hostile(_alone("JaxLayer", call_fn=custom("system", "os")), (LAYER, "carries code")),
    "model from os": Hostile(lambda: {**sequential(dense()), "module": "os"}, ("module: 'os'", "custom classes")),
    "model of another class": Hostile(
        lambda: {**sequential(dense()), "module": "subprocess", "class_name": "Popen"}, ("class_name: 'Popen'",)
    ),
    "model that downloads": Hostile(
        lambda: {
            "module": "keras.utils",
            "class_name": "get_file",
            "config": {"fname": "x", "origin": "http://127.0.0.1:9/x"},
        },
        ("class_name: 'get_file'",),
    ),
    "model registered": Hostile(
        lambda: {**sequential(dense()), "registered_name": "Evil>Sequential"}, ("custom classes",)
    ),
    "module a list": Hostile(lambda: {**sequential(dense()), "module": ["keras"]}, ("module: ['keras']",)),
    "layer from builtins": Hostile(
        lambda: sequential(layer("Dense", module="builtins", units=1)), (LAYER, "module: 'builtins'", "custom classes")
    ),
    "layer eval from builtins": Hostile(
        lambda: sequential(layer("eval", module="builtins", source="1")),
        (LAYER, "is not supported; the supported layers"),
    ),
    "layer from the legacy of Keras": Hostile(
        lambda: sequential(layer("Dense", module="keras.src.legacy.saving.serialization", units=1)),
        (LAYER, "module: 'keras.src.legacy.saving.serialization'"),
    ),
    "layer get_file": Hostile(
        lambda: sequential(layer("get_file", module="keras.utils", origin="http://127.0.0.1:9/x")),
        (LAYER, "is not supported; the supported layers"),
    ),
    "layer of a private module": Hostile(
        lambda: sequential(layer("Dense", module="keras.src.layers.core.dense", units=1)),
        (LAYER, "must be keras.layers"),
    ),
    "layer with a null module": Hostile(
        lambda: sequential(layer("Dense", module=None, units=1)), (LAYER, "module: None")
    ),
    "layer that is registered": Hostile(
        lambda: sequential({**dense("bad"), "registered_name": "Evil>Dense"}),
        (LAYER, "registered_name must be null; custom classes"),
    ),
    "input of operators' module": Hostile(
        lambda: {
            **functional(_end_after("data")),
            "config": {
                **functional(_end_after("data"))["config"],
                "layers": [
                    {**layer("InputLayer", "data", "keras.ops", batch_shape=[None, 20]), "inbound_nodes": []},
                    _end_after("data"),
                ],
            },
        },
        ("layer 'data'", "module: 'keras.ops'"),
    ),
    "activation as a function": Hostile(
        _dense(activation={"module": "os", "class_name": "function", "config": "system", "registered_name": "system"}),
        (LAYER, "activation must be the name of a Keras activation"),
    ),
    "activation by a path": Hostile(_dense(activation="os.system"), (LAYER, "activation")),
    "activation as a layer": Hostile(_dense(activation=layer("Lambda")), (LAYER, "activation must be the name")),
    "initializer from os": Hostile(
        _dense(kernel_initializer={"module": "os", "class_name": "system", "config": {"command": "id"}}),
        (LAYER, "kernel_initializer: custom classes"),
    ),
    "initializer registered": Hostile(
        _dense(kernel_initializer={**custom("Zeros"), "module": "keras.initializers"}),
        (LAYER, "kernel_initializer: custom classes"),
    ),
    "initializer unknown": Hostile(
        _dense(kernel_initializer={"module": "keras.initializers", "class_name": "get", "config": {}}),
        (LAYER, "kernel_initializer"),
    ),
    "initializer as a function": Hostile(
        _dense(bias_initializer={"class_name": "function", "config": "system", "module": "os"}),
        (LAYER, "bias_initializer: custom classes"),
    ),
    "initializer as code": Hostile(
        _dense(kernel_initializer={"class_name": "__lambda__", "config": {"code": "4wE="}}),
        (LAYER, "kernel_initializer"),
    ),
    "initializer a number": Hostile(_dense(kernel_initializer=3), (LAYER, "kernel_initializer must be an object")),
    "initializer with a seed that is an object": Hostile(
        _dense(kernel_initializer={"class_name": "HeNormal", "config": {"seed": custom("SeedGenerator")}}),
        (LAYER, "seed"),
    ),
    "regularizer of one's own": Hostile(
        _dense(kernel_regularizer=custom("L2")), (LAYER, "kernel_regularizer is not supported")
    ),
    "constraint of one's own": Hostile(
        _dense(bias_constraint=custom("MaxNorm")), (LAYER, "bias_constraint is not supported")
    ),
    "activity regularizer": Hostile(_dense(activity_regularizer="l2"), (LAYER, "activity_regularizer")),
    "dtype policy from elsewhere": Hostile(
        _dense(dtype={"module": "os", "class_name": "system", "config": {"name": "float32"}}), (LAYER, "dtype")
    ),
    "dtype policy registered": Hostile(
        _dense(dtype={**custom("DTypePolicy", "keras"), "config": {"name": "float32"}}), (LAYER, "dtype")
    ),
    "dtype policy within a policy": Hostile(
        _dense(dtype={"module": "keras", "class_name": "DTypePolicy", "config": {"name": custom("DTypePolicy")}}),
        (LAYER, "dtype"),
    ),
    "dtype quantized": Hostile(_dense(dtype="int8_from_float32"), (LAYER, "dtype", "precision")),
    "dtype mixed": Hostile(_dense(dtype="mixed_float16"), (LAYER, "dtype")),
    "dtype a list": Hostile(_dense(dtype=["float32"]), (LAYER, "dtype")),
    "quantization": Hostile(
        _dense(quantization_config=custom("Int8QuantizationConfig")), (LAYER, "quantization_config is not supported")
    ),
    "weights": Hostile(
        _alone("Embedding", input_dim=2, output_dim=2, weights=[[1]]), (LAYER, "weights: unknown field")
    ),
    "key __class__": Hostile(_dense(__class__="os.system"), (LAYER, "__class__: unknown field")),
    "key __init__": Hostile(_dense(__init__={}), (LAYER, "__init__: unknown field")),
    "key model_config": Hostile(_dense(model_config={"extra": "allow"}), (LAYER, "model_config: unknown field")),
    "key __class__ of the model": Hostile(
        lambda: sequential(dense(), __class__="os.system"), ("unknown field '__class__'",)
    ),
    "kwargs with a tensor": Hostile(
        _joined(after(dense("bad"), tensor("data"), mask=tensor("data")), _end_after("bad")),
        (LAYER, "kwargs: arguments other than tensors"),
    ),
    "kwargs with code": Hostile(
        _joined(after(dense("bad"), tensor("data"), training=custom("eval")), _end_after("bad")), (LAYER, "kwargs")
    ),
    "argument an array": Hostile(
        _joined(
            after(layer("Add", module="keras.ops"), tensor("data"), custom("__numpy__", value=[1])), _end_after("bad")
        ),
        (LAYER, "is not the output of a layer"),
    ),
}

# ---------------------------------------------------------------- files and addresses

FILES = {
    f"{kind} with a file": Hostile(_alone(kind, vocabulary="/etc/passwd"), (LAYER, kind, "may load a file"))
    for kind in ("StringLookup", "IntegerLookup", "TextVectorization")
} | {
    "TFSMLayer": Hostile(_alone("TFSMLayer", filepath="/etc", call_endpoint="serve"), (LAYER, "loads a file")),
    "TFSMLayer from a bucket": Hostile(_alone("TFSMLayer", filepath="gs://evil/model"), (LAYER, "loads a file")),
    "address in a field": Hostile(_dense(url="http://127.0.0.1:9/x"), (LAYER, "url: unknown field")),
    "address as units": Hostile(_dense("http://127.0.0.1:9/x"), (LAYER, "units")),
}

# -------------------------------------------------------------------------------------------------- numbers

NUMBERS = (
    {
        f"units {name}": Hostile(_dense(units), (LAYER, "units"))
        for name, units in {
            "10**300": 10**300,
            "negative": -3,
            "zero": 0,
            "true": True,
            "a float": 3.5,
            "a string": "3",
            "null": None,
            "a list": [3],
            "an object": {"value": 3},
            "1e300": 1e300,
        }.items()
    }
    | {
        f"{name} in a number": Hostile(_dense(bias_initializer=_constant), ("is not a JSON number",))
        for name, _constant in {
            "NaN": {"class_name": "Constant", "config": {"value": float("nan")}},
            "infinity": {"class_name": "Constant", "config": {"value": float("-inf")}},
        }.items()
    }
    | {
        "NaN in the string": Hostile(
            lambda: json.dumps(sequential(dense("bad", epsilon=float("nan")))), ("NaN is not a JSON number",)
        ),
        "a name twice in the string": Hostile(
            lambda: json.dumps(sequential(dense("bad"))).replace('"module"', '"module": 1, "module"', 1),
            ("occurs more than once",),
        ),
        "1e999 in the string": Hostile(
            lambda: json.dumps(json.dumps(sequential(dense("bad", 12345))).replace("12345", "1e999")),
            ("body.model.config", "out of the range of a 64-bit float"),
            raw=True,
        ),
        "1e999 in the text": Hostile(
            lambda: json.dumps(sequential(dense("bad", 12345))).replace("12345", "1e999"),
            ("body.model.config.config.layers.1", "out of the range of a 64-bit float"),
            raw=True,
        ),
        "5,000 digits in the string": Hostile(
            lambda: json.dumps(sequential(dense("bad", 12345))).replace("12345", "9" * 5000), ("body.model",)
        ),
        "5,000 digits in the object": Hostile(
            lambda: json.dumps(sequential(dense("bad", 12345))).replace("12345", "9" * 5000),
            ("body.model.config.config.layers.1", "out of the range of a 64-bit float"),
            raw=True,
        ),
        "constant beyond float32": Hostile(
            _dense(kernel_initializer={"class_name": "Constant", "config": {"value": 1e300}}), (LAYER, "value")
        ),
        "operator with 10**300": Hostile(
            _joined(after(layer("Add", module="keras.ops"), tensor("data"), 10**300), _end_after("bad")),
            (LAYER, "float32"),
        ),
        "operator by zero": Hostile(
            _joined(after(layer("TrueDivide", module="keras.ops"), tensor("data"), 0), _end_after("bad")),
            (LAYER, "TrueDivide", "number 0.0"),
        ),
        "operator by next to nothing": Hostile(
            _joined(after(layer("TrueDivide", module="keras.ops"), tensor("data"), 1e-300), _end_after("bad")),
            (LAYER, "scale"),
        ),
        "noise beyond 1": Hostile(_alone("GaussianNoise", stddev=5.0), (LAYER, "stddev")),
        "slope null": Hostile(_alone("ReLU", negative_slope=None), (LAYER, "negative_slope")),
    }
)

# -------------------------------------------------------------------------------------------------- sizes

SIZES = {
    "units 10**12": Hostile(_dense(10**12), ("parameters",)),
    "many parameters": Hostile(lambda: sequential(dense("a", 20_000), dense("b", 20_000), dense()), ("parameters",)),
    "ZeroPadding of 10**9": Hostile(
        _alone("ZeroPadding2D", layer("GlobalMaxPooling2D", "g"), shape=[5, 4, 1], padding=10**9),
        (LAYER, "values per sample"),
    ),
    "ZeroPadding1D of 10**9": Hostile(
        _alone("ZeroPadding1D", layer("GlobalMaxPooling1D", "g"), shape=[10, 2], padding=10**9), ("batch_values",)
    ),
    "RepeatVector of 10**12": Hostile(
        _alone("RepeatVector", layer("GlobalMaxPooling1D", "g"), n=10**12), ("batch_values",)
    ),
    "UpSampling of 10**6 twice": Hostile(
        _alone(
            "UpSampling1D",
            layer("UpSampling1D", "b", size=10**6),
            layer("GlobalMaxPooling1D", "g"),
            shape=[10, 2],
            size=10**6,
        ),
        ("batch_values",),
    ),
    "UpSampling to sizes of thousands of digits": Hostile(
        lambda: sequential(
            *(layer("UpSampling1D", f"u{i}", size=2**53 - 1) for i in range(600)),
            layer("GlobalMaxPooling1D", "g"),
            dense(),
            shape=[10, 2],
        ),
        ("layer 'u0'", "values per sample"),
    ),
    "UpSampling2D of 2**52": Hostile(
        _alone("UpSampling2D", layer("GlobalMaxPooling2D", "g"), shape=[5, 4, 1], size=2**52),
        (LAYER, "values per sample"),
    ),
    "Concatenate that doubles": Hostile(
        lambda: functional(
            *(after(layer("Concatenate", f"c{i + 1}"), [tensor(f"c{i}" if i else "data")] * 2) for i in range(300)),
            _end_after("c300"),
        ),
        ("layer 'c49'", "values per sample"),
    ),
    "Embedding of 10**15 rows": Hostile(
        _alone("Embedding", layer("Flatten", "f"), input_dim=10**15, output_dim=100), ("parameters",)
    ),
    "LSTM of 10**9 units": Hostile(_alone("LSTM", shape=[10, 2], units=10**9), ("parameters",)),
    "LSTM that keeps 10**6 steps": Hostile(
        lambda: sequential(layer("RepeatVector", "steps", n=10**6), layer("LSTM", units=64), dense(), shape=[20]),
        ("batch_values",),
    ),
    "pooling window of 2**40": Hostile(
        _alone("MaxPooling2D", layer("Flatten", "f"), shape=[5, 4, 1], pool_size=2**40, strides=1, padding="same"),
        (LAYER, "too large for its input"),
    ),
    "strides of 2**40": Hostile(
        _alone("Conv2D", layer("Flatten", "f"), shape=[5, 4, 1], filters=1, kernel_size=1, strides=2**40),
        (LAYER, "too large for its input"),
    ),
    "dilation of 2**31": Hostile(
        _alone("Conv2D", layer("Flatten", "f"), shape=[5, 4, 1], filters=1, kernel_size=1, dilation_rate=2**31),
        (LAYER, "dilation_rate"),
    ),
    "causal padding of 10**6": Hostile(
        _alone(
            "Conv1D",
            layer("Flatten", "f"),
            shape=[10, 2],
            filters=1,
            kernel_size=10**6,
            padding="causal",
        ),
        (LAYER, "too large for its input"),
    ),
    "dilation that pads an image a thousandfold": Hostile(
        _alone(
            "Conv2D",
            layer("Flatten", "f"),
            shape=[5, 4, 1],
            filters=1,
            kernel_size=2,
            dilation_rate=2_047,
            padding="same",
        ),
        ("batch_values",),
    ),
    "input of 10**12 numbers": Hostile(
        lambda: sequential(layer("Flatten", "f"), dense(), shape=[10**12]), ("the network reads samples of shape",)
    ),
    "input of 10**300 numbers": Hostile(
        lambda: sequential(dense(), shape=[10**300, None]), ("the network reads samples of shape",)
    ),
    "3,000 tiny layers": Hostile(
        lambda: sequential(*(_tiny(i) for i in range(3_000))), ("layers: 3,001 layers, at most 2,000",)
    ),
    "1,900 tiny layers": Hostile(lambda: sequential(*(_tiny(i) for i in range(1_900))), ("layers: 1,900 asked for",)),
    "10,000 tiny layers": Hostile(
        lambda: sequential(*(_tiny(i) for i in range(10_000))), ("larger than 262,144 bytes",), status=413
    ),
}


def _tiny(number: int) -> Json:
    return {"module": "keras.layers", "class_name": "Identity", "config": {"name": f"{number}"}}


# -------------------------------------------------------------------------------------------------- graphs

GRAPHS = {
    "cycle": Hostile(
        _joined(after(dense("bad"), tensor("b")), after(dense("b"), tensor("bad")), _end_after("b")), (LAYER, "cycle")
    ),
    "self reference": Hostile(_joined(after(dense("bad"), tensor("bad")), _end_after("bad")), (LAYER, "cycle")),
    "unknown input": Hostile(_joined(after(dense("bad"), tensor("nowhere"))), ("output_layers",)),
    "input from nowhere": Hostile(
        _joined(after(dense("bad"), tensor("nowhere")), _end_after("bad")),
        (LAYER, "'nowhere', but there is no such layer"),
    ),
    "duplicate names": Hostile(
        _joined(after(dense("bad"), tensor("data")), after(dense("bad"), tensor("data")), _end_after("bad")),
        (LAYER, "twice"),
    ),
    "duplicate names in a row": Hostile(lambda: sequential(dense("bad"), dense("bad")), (LAYER, "twice")),
    "a layer named as the input": Hostile(
        _joined(after(dense("data"), tensor("data")), _end_after("data")),
        ("layer 'data'", "the same name as the input"),
    ),
    "two inputs": Hostile(
        _joined(
            {**layer("InputLayer", batch_shape=[None, 20]), "inbound_nodes": []},
            after(layer("Add", "sum"), [tensor("data"), tensor("bad")]),
            _end_after("sum"),
        ),
        (LAYER, "one input"),
    ),
    "the input twice": Hostile(
        _joined({**layer("InputLayer", "data", batch_shape=[None, 5, 4]), "inbound_nodes": []}, _end_after("data")),
        ("layer 'data'", "twice"),
    ),
    "two outputs": Hostile(
        lambda: functional(_end_after("data"), output=[["end", 0, 0], ["end", 0, 0]]), ("output_layers", "one output")
    ),
    "no outputs": Hostile(lambda: functional(_end_after("data"), output=[]), ("output_layers",)),
    "outputs an object": Hostile(
        lambda: functional(_end_after("data"), output={"a": ["end", 0, 0]}), ("output_layers",)
    ),
    "the input as output": Hostile(_joined(_end_after("data"), output=("data", 0, 0)), ("output_layers", "'data'")),
    "another output of a layer": Hostile(_joined(_end_after("data"), output=("end", 0, 1)), ("output_layers",)),
    "shared layer": Hostile(
        _joined(
            {**dense("bad"), "inbound_nodes": [{"args": [tensor("data")]}, {"args": [tensor("bad")]}]},
            _end_after("bad"),
        ),
        (LAYER, "used exactly once"),
    ),
    "second use of a layer": Hostile(
        _joined(after(dense("bad"), tensor("data", 1)), _end_after("bad")),
        (LAYER, "must be the first output of a layer that is used once"),
    ),
    "history of objects": Hostile(
        _joined(after(dense("bad"), tensor({"module": "os"})), _end_after("bad")),
        (LAYER, "is not the output of a layer"),
    ),
    "Dense of a list": Hostile(
        _joined(after(dense("bad"), [tensor("data"), tensor("data")]), _end_after("bad")), (LAYER, "not a list")
    ),
    "Add of nothing": Hostile(_joined(after(layer("Add"), []), _end_after("bad")), (LAYER, "at least two inputs")),
    "operator of three": Hostile(
        _joined(
            after(layer("Add", module="keras.ops"), tensor("data"), tensor("data"), tensor("data")), _end_after("bad")
        ),
        (LAYER, "two tensors"),
    ),
    "operator of numbers": Hostile(
        _joined(after(layer("Add", module="keras.ops"), 1, 2), _end_after("bad")), (LAYER, "two tensors")
    ),
    "operator with a boolean": Hostile(
        _joined(after(layer("Add", module="keras.ops"), tensor("data"), True), _end_after("bad")),
        (LAYER, "two tensors"),
    ),
    "nested Sequential": Hostile(
        lambda: sequential(
            {
                "module": "keras",
                "class_name": "Sequential",
                "config": {"name": "bad", "layers": [layer("Lambda")]},
                "registered_name": None,
            }
        ),
        (LAYER, "nested network"),
    ),
    "nested Functional": Hostile(
        _joined(
            after(
                {**layer("Functional", module="keras.src.models.functional"), "config": {"name": "bad"}}, tensor("data")
            )
        ),
        (LAYER, "nested network"),
    ),
    "Bidirectional around a Lambda": Hostile(
        _alone("Bidirectional", layer=layer("Lambda")), (LAYER, "is not supported")
    ),
    "TimeDistributed": Hostile(_alone("TimeDistributed", layer=dense()), (LAYER, "is not supported")),
}

# -------------------------------------------------------------------------------------------------- shapes

SHAPES = {
    "Dense after an unequal Add": Hostile(
        _joined(
            after(dense("a", 3), tensor("data")),
            after(layer("Add"), [tensor("data"), tensor("a")]),
            _end_after("bad"),
        ),
        (LAYER, "cannot merge shapes [20], [3]"),
    ),
    "convolution of a vector": Hostile(
        _alone("Conv2D", filters=1, kernel_size=1), (LAYER, "[height, width, channels]")
    ),
    "kernel larger than the input": Hostile(
        _alone("Conv2D", shape=[5, 4, 1], filters=1, kernel_size=5), (LAYER, "larger than its input")
    ),
    "pool larger than the input": Hostile(
        _alone("MaxPooling1D", shape=[10, 2], pool_size=11), (LAYER, "larger than its input")
    ),
    "Reshape impossible": Hostile(
        _alone("Reshape", target_shape=[3, -1]), (LAYER, "target_shape [3, -1], which does not hold")
    ),
    "Reshape of zero": Hostile(
        _alone("Reshape", target_shape=[0, -1]), (LAYER, "target_shape [0, -1], which does not hold")
    ),
    "Reshape twice open": Hostile(
        _alone("Reshape", target_shape=[-1, -1]), (LAYER, "target_shape [-1, -1], which does not hold")
    ),
    "Permute of no order": Hostile(_alone("Permute", dims=[2, 1]), (LAYER, "dims")),
    "LSTM of a vector": Hostile(_alone("LSTM", units=2), (LAYER, "[steps, features]")),
    "groups that do not divide": Hostile(_alone("GroupNormalization", groups=3), (LAYER, "groups")),
    "groups of none": Hostile(_alone("GroupNormalization", groups=0), (LAYER, "groups")),
    "axes that are not the last": Hostile(
        _alone("BatchNormalization", shape=[5, 4, 1], axis=1), (LAYER, "normalizes the last axis only")
    ),
    "strides and dilation": Hostile(
        _alone("Conv1D", shape=[10, 2], filters=1, kernel_size=2, strides=2, dilation_rate=2), (LAYER, "strides")
    ),
    "shared axes that there are not": Hostile(_alone("PReLU", shared_axes=[3]), (LAYER, "shared_axes 3")),
    "strides empty": Hostile(_alone("MaxPooling1D", shape=[10, 2], strides=[]), (LAYER, "strides")),
    "orthogonal vector": Hostile(
        lambda: sequential(layer("Dense", units=1, bias_initializer="orthogonal")), (LAYER, "fills matrices only")
    ),
    "embedding of random numbers": Hostile(
        _alone("Embedding", layer("Flatten", "f"), input_dim=5, output_dim=2), (LAYER, "needs integers")
    ),
    "input without a shape": Hostile(
        lambda: sequential(layer("InputLayer", "x", batch_shape=[]), dense()), ("layer 'x'",)
    ),
    "input of five dimensions": Hostile(lambda: sequential(dense(), shape=[1, 1, 1, 1, 20]), ("batch_shape",)),
    "input of no batch": Hostile(
        lambda: {**sequential(dense()), "config": {"layers": [layer("InputLayer", "x", batch_shape=[8, 20]), dense()]}},
        ("layer 'x'", "must begin with null"),
    ),
    "nothing but an input": Hostile(lambda: sequential(), ("there must be a layer after the input",)),
    "nothing to train": Hostile(_alone_frozen, ("no trainable variable",)),
}

# -------------------------------------------------------------------------------------------------- text

TEXT = {
    f"name {name}": Hostile(lambda value=value: sequential(dense(value)), ("layer 1: name", "is not a valid name"))  # type: ignore[misc]
    for name, value in {
        "of 200 KB": "a" * 200_000,
        "with a slash": "a/b",
        "of a path": "../../etc/passwd",
        "with a control character": "a\x01b",
        "with a line end": "a\n",
        "in another script": "слой",
        "of a full-width letter": "\uff41",
        "empty": "",
        "null": None,
        "a number": 3,
        "an object": {"a": 1},
        "__class__": "__class__",
        "with a brace": "{0.__class__}",
    }.items()
} | {
    "class name of 200 KB": Hostile(lambda: sequential(layer("D" * 200_000)), (LAYER, "class_name")),
    "class name an object": Hostile(lambda: sequential(layer({"a": 1})), (LAYER, "class_name")),
    "field of 200 KB": Hostile(lambda: sequential(dense("bad", **{"x" * 200_000: 1})), (LAYER, "unknown field")),
    "initializer of 200 KB": Hostile(lambda: sequential(dense("bad", kernel_initializer="A" * 200_000)), (LAYER,)),
    "names that differ": Hostile(lambda: sequential({**dense("bad"), "name": "good"}), ("is not a valid name",)),
    "half of a surrogate pair": Hostile(
        lambda: sequential(dense(), compile_config={"a": "\ud800"}), ("unpaired surrogates",)
    ),
    "half of a pair as a key": Hostile(
        lambda: sequential(dense(), build_config={"\udfff": 1}), ("unpaired surrogates",)
    ),
    "100,000 nested lists in the string": Hostile(lambda: "[" * 100_000, ("nested too deeply",)),
    "100,000 nested lists in the object": Hostile(
        lambda: '{"module": ' + "[" * 100_000 + "]" * 100_000 + "}", ("nested too deeply",), raw=True
    ),
    "500 nested objects": Hostile(
        lambda: '{"compile_config": ' + '{"a":' * 500 + "1" + "}" * 501, ("nested too deeply: more than 40",), raw=True
    ),
    "500 nested objects in the string": Hostile(
        lambda: '{"compile_config": ' + '{"a":' * 500 + "1" + "}" * 501, ("nested too deeply: more than 40",)
    ),
    "a list": Hostile(list, ("body.model",)),
    "a number": Hostile(lambda: 3, ("body.model",)),
    "null": Hostile(lambda: None, ("body.model",)),
    "nothing": Hostile(dict, ("lacks",)),
    "an empty string": Hostile(lambda: "", ("not JSON",)),
    "invalid JSON": Hostile(lambda: "{'module': keras}", ("not JSON",)),
    "a string of a list": Hostile(lambda: "[]", ("not a JSON object",)),
    "JSON within JSON": Hostile(lambda: json.dumps(json.dumps(sequential(dense()))), ("not a JSON object",)),
    "a pickle": Hostile(lambda: "\x80\x04cos\nsystem\n(S'id'\ntR.", ("not JSON",)),
    "layers an object": Hostile(
        lambda: {"module": "keras", "class_name": "Sequential", "config": {"layers": {"0": dense()}}}, ("layers",)
    ),
    "layers of numbers": Hostile(
        lambda: {"module": "keras", "class_name": "Sequential", "config": {"layers": [1]}},
        ("layer 0 must be an object",),
    ),
    "inner configuration a string": Hostile(
        lambda: {"module": "keras", "class_name": "Sequential", "config": "{}"}, ("must be an object",)
    ),
    "layer's configuration a list": Hostile(
        lambda: sequential({"module": "keras.layers", "class_name": "Dense", "config": []}), ("layer 1: config",)
    ),
}

HOSTILE: dict[str, Hostile] = {**CODE, **FILES, **NUMBERS, **SIZES, **GRAPHS, **SHAPES, **TEXT}

# Keys that are ignored: what they hold is kept as text and never looked up.
IGNORED: dict[str, Json] = {
    "compile_config with code": sequential(
        dense(), compile_config={"optimizer": custom("system", "os"), "loss": custom("__lambda__", code=bytecode())}
    ),
    "build_config with a module": sequential(
        {**dense(), "build_config": custom("system", "os", input_shape=[None, 20])}, build_config=custom("eval")
    ),
}
