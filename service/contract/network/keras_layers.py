"""One entry of `layers` in what Keras prints -> a layer of ours, if it is among those that are allowed."""

import re
from typing import Any

from pydantic import ValidationError

from service.contract.network import layers, recurrent, reshaping, spatial
from service.contract.network.layer import MAX_DIMENSIONS, Layer
from service.contract.network.plain_json import Json, check_keys, short

LAYERS: dict[str, type[Layer]] = {
    kind.__name__: kind
    for kind in (
        layers.Dense, layers.Embedding,
        layers.Activation, layers.ReLU, layers.LeakyReLU, layers.ELU, layers.PReLU, layers.Softmax,
        layers.BatchNormalization, layers.LayerNormalization, layers.GroupNormalization, layers.UnitNormalization,
        layers.Dropout, layers.AlphaDropout, layers.GaussianDropout, layers.GaussianNoise,
        layers.SpatialDropout1D, layers.SpatialDropout2D,
        reshaping.Identity, reshaping.Flatten, reshaping.Reshape, reshaping.Permute, reshaping.RepeatVector,
        reshaping.Rescaling,
        *reshaping.MERGES,
        spatial.Conv1D, spatial.Conv2D,
        spatial.MaxPooling1D, spatial.MaxPooling2D, spatial.AveragePooling1D, spatial.AveragePooling2D,
        spatial.GlobalMaxPooling1D, spatial.GlobalMaxPooling2D,
        spatial.GlobalAveragePooling1D, spatial.GlobalAveragePooling2D,
        spatial.ZeroPadding1D, spatial.ZeroPadding2D, spatial.UpSampling1D, spatial.UpSampling2D,
        recurrent.SimpleRNN, recurrent.LSTM, recurrent.GRU,
    )
}  # fmt: skip

REFUSED = {
    "Lambda": "carries code",
    "TFSMLayer": "loads a file",
    "StringLookup": "may load a file",
    "IntegerLookup": "may load a file",
    "TextVectorization": "may load a file",
    "TorchModuleWrapper": "carries code",
    "JaxLayer": "carries code",
    "FlaxLayer": "carries code",
    "Functional": "is a network within a network; write its layers one by one",
    "Sequential": "is a network within a network; write its layers one by one",
    "Model": "is a network within a network; write its layers one by one",
}

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}")
OPERATORS = ("keras.src.ops.numpy", "keras.ops")  # `x + y` between Keras tensors
MUST_BE_NULL = ("_regularizer", "_constraint")


def opened(entry: Any, position: int, *, functional: bool) -> tuple[str, str, Json]:
    """Name, class and remaining fields of an entry of `layers`."""
    place = f"layer {position}"
    check_keys(
        place,
        entry,
        {"module", "class_name", "config", *(["inbound_nodes"] if functional else [])},
        {"registered_name", "build_config", "compile_config", "name"},
    )
    kind, config = entry["class_name"], entry["config"]
    if not isinstance(config, dict):
        raise ValueError(f"{place}: config: not an object")
    name = config.get("name")
    if not isinstance(name, str) or not NAME.fullmatch(name) or entry.get("name", name) != name:
        raise ValueError(f"{place}: name: {short(name)} is no name of a layer")
    if not isinstance(kind, str) or len(kind) > 100:
        raise ValueError(f"layer '{name}': class_name: {short(kind)} is no name of a class")
    label = f"layer '{name}' ({kind})"
    operator = functional and kind != "InputLayer" and entry["module"] in OPERATORS
    if kind in REFUSED and not operator:
        raise ValueError(f"{label} {REFUSED[kind]}")
    if not operator and kind != "InputLayer" and kind not in LAYERS:
        raise ValueError(f"{label} is not among the layers that gradflow builds: {', '.join(sorted(LAYERS))}")
    if not operator and entry["module"] != "keras.layers":
        raise ValueError(f"{label}: module: {short(entry['module'])} is not keras.layers; own classes are not taken")
    if entry.get("registered_name") not in ((None, kind) if operator else (None,)):
        raise ValueError(f"{label}: registered_name: own classes are not taken")
    return name, kind, {key: value for key, value in config.items() if key != "name"}


def layer_of(name: str, kind: str, fields: Json) -> Layer:
    """The layer of an allowed class; ValueError names it and what is wrong."""
    label = f"layer '{name}' ({kind})"
    told: Json = {}
    for key, value in fields.items():
        if key == "dtype":
            _dtype(label, value)
        elif key.endswith(MUST_BE_NULL) or key in ("quantization_config", "lora_rank", "lora_alpha"):
            if value is not None:
                raise ValueError(f"{label}: {key}: gradflow trains without; leave it null")
        elif key.endswith("_initializer"):
            told[key] = _initializer(f"{label}: {key}", value)
        elif key in ("activation", "recurrent_activation") and not isinstance(value, str):
            raise ValueError(f"{label}: {key}: only activations of Keras by their names, no own functions")
        else:
            told[key] = value
    if kind in ("MaxPooling1D", "MaxPooling2D", "AveragePooling1D", "AveragePooling2D") and told.get("strides") == []:
        raise ValueError(f"{label}: strides: empty")
    return validated(label, LAYERS[kind], told)


def validated(label: str, kind: type[Layer], told: Json) -> Layer:
    """A layer of these fields; `label` begins the ValueError."""
    try:
        return kind.model_validate(told)
    except ValidationError as error:
        raise ValueError(f"{label}: {_first(error)}") from error


def _initializer(label: str, value: Any) -> Json:
    """Keras's form of an initializer -> ours."""
    if isinstance(value, str):
        return {"name": _snake(value)}
    check_keys(label, value, {"class_name", "config"}, {"module", "registered_name"})
    kind, config = value["class_name"], value["config"]
    if value.get("module", "keras.initializers") != "keras.initializers" or value.get("registered_name") is not None:
        raise ValueError(f"{label}: own classes are not taken")
    if not isinstance(kind, str) or not isinstance(config, dict):
        raise ValueError(f"{label}: not an initializer of Keras")
    told = dict(config)
    for axes in ("input_axes", "output_axes"):
        if told.pop(axes, None) is not None:
            raise ValueError(f"{label}: {axes}: leave it null")
    return {"name": _snake(kind), **told}


def _snake(name: str) -> str:
    return re.sub(r"(?<!^)(?=[A-Z])", "_", name[:100]).lower()


def _dtype(label: str, value: Any) -> None:
    if isinstance(value, dict):
        check_keys(f"{label}: dtype", value, {"module", "class_name", "config"}, {"registered_name"})
        own = value["module"] != "keras" or value["class_name"] != "DTypePolicy" or value.get("registered_name")
        if own or not isinstance(value["config"], dict):
            raise ValueError(f"{label}: dtype: {short(value)} is no policy of Keras's")
        value = value["config"].get("name")
    if value not in (None, "float32", "float64"):
        raise ValueError(f"{label}: dtype: {short(value)}; `training.precision` chooses float32 or float64")


def input_shape_of(name: str, fields: Json) -> tuple[int | None, ...]:
    """The shape of a row as an InputLayer declares it, None where a size is open."""
    label = f"layer '{name}' (InputLayer)"
    check_keys(label, fields, {"batch_shape"}, {"dtype", "sparse", "ragged", "optional", "trainable"})
    if fields.get("dtype", "float32") not in ("float32", "float64", "int32", "int64"):
        raise ValueError(f"{label}: dtype: {short(fields['dtype'])} is not a number")
    if any(fields.get(key, False) is not False for key in ("sparse", "ragged", "optional")):
        raise ValueError(f"{label}: sparse, ragged and optional inputs are not taken")
    shape = fields["batch_shape"]
    if not isinstance(shape, list) or not 2 <= len(shape) <= MAX_DIMENSIONS + 1:
        raise ValueError(f"{label}: batch_shape: {short(shape)}, 2 to {MAX_DIMENSIONS + 1} dimensions are taken")
    if shape[0] is not None:
        raise ValueError(f"{label}: batch_shape: leave the batch open; `training.batch_size` says it")
    for size in shape[1:]:
        if size is not None and (not isinstance(size, int) or isinstance(size, bool) or size < 1):
            raise ValueError(f"{label}: batch_shape: {short(size)} is no size")
    return tuple(shape[1:])


def _first(error: ValidationError) -> str:
    found = error.errors(include_url=False, include_input=False)[0]
    place = ".".join(str(part) for part in found["loc"])
    message = "unknown field" if found["type"] == "extra_forbidden" else found["msg"]
    return f"{place[:100]}: {message}"
