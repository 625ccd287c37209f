"""Reads one entry of `layers` in a Keras configuration, if its class is allowed."""

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
    "Functional": "is a nested network, which is not supported; list its layers one by one",
    "Sequential": "is a nested network, which is not supported; list its layers one by one",
    "Model": "is a nested network, which is not supported; list its layers one by one",
}

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}")
OPERATORS = ("keras.src.ops.numpy", "keras.ops")  # modules of operators such as `x + y` between Keras tensors
MUST_BE_NULL = ("_regularizer", "_constraint")


def opened(entry: Any, position: int, *, functional: bool) -> tuple[str, str, Json]:
    """Return name, class name and remaining fields of an entry of `layers`.

    Raises:
        ValueError: The entry is malformed, or its class is not supported.
    """
    place = f"layer {position}"
    check_keys(
        place,
        entry,
        {"module", "class_name", "config", *(["inbound_nodes"] if functional else [])},
        {"registered_name", "build_config", "compile_config", "name"},
    )
    kind, config = entry["class_name"], entry["config"]
    if not isinstance(config, dict):
        raise ValueError(f"{place}: config must be an object")
    name = config.get("name")
    if not isinstance(name, str) or not NAME.fullmatch(name) or entry.get("name", name) != name:
        raise ValueError(
            f"{place}: name: {short(name)} is not a valid name: use letters, digits, _, . and -, at most 100"
        )
    if not isinstance(kind, str) or len(kind) > 100:
        raise ValueError(f"layer '{name}': class_name: {short(kind)} is not the name of a class")
    label = f"layer '{name}' ({kind})"
    operator = functional and kind != "InputLayer" and entry["module"] in OPERATORS
    if kind in REFUSED and not operator:
        raise ValueError(f"{label} {REFUSED[kind]}")
    if not operator and kind != "InputLayer" and kind not in LAYERS:
        raise ValueError(f"{label} is not supported; the supported layers are {', '.join(sorted(LAYERS))}")
    if not operator and entry["module"] != "keras.layers":
        raise ValueError(
            f"{label}: module: {short(entry['module'])} must be keras.layers; custom classes are not supported"
        )
    if entry.get("registered_name") not in ((None, kind) if operator else (None,)):
        raise ValueError(f"{label}: registered_name must be null; custom classes are not supported")
    return name, kind, {key: value for key, value in config.items() if key != "name"}


def layer_of(name: str, kind: str, fields: Json) -> Layer:
    """Return the layer of an allowed class.

    Raises:
        ValueError: The message names the layer and the field.
    """
    label = f"layer '{name}' ({kind})"
    given: Json = {}
    for key, value in fields.items():
        if key == "dtype":
            _dtype(label, value)
        elif key.endswith(MUST_BE_NULL) or key in ("quantization_config", "lora_rank", "lora_alpha"):
            if value is not None:
                raise ValueError(f"{label}: {key} is not supported; leave it null")
        elif key.endswith("_initializer"):
            given[key] = _initializer(f"{label}: {key}", value)
        elif key in ("activation", "recurrent_activation") and not isinstance(value, str):
            raise ValueError(
                f"{label}: {key} must be the name of a Keras activation; custom functions are not supported"
            )
        else:
            given[key] = value
    if kind in ("MaxPooling1D", "MaxPooling2D", "AveragePooling1D", "AveragePooling2D") and given.get("strides") == []:
        raise ValueError(f"{label}: strides must not be empty")
    return validated(label, LAYERS[kind], given)


def validated(label: str, kind: type[Layer], given: Json) -> Layer:
    """Return a layer with these fields.

    Raises:
        ValueError: A field is invalid; the message begins with `label`.
    """
    try:
        return kind.model_validate(given)
    except ValidationError as error:
        raise ValueError(f"{label}: {_first(error)}") from error


def _initializer(label: str, value: Any) -> Json:
    """Return the spec of an initializer in Keras's form."""
    if isinstance(value, str):
        return {"name": _snake(value)}
    check_keys(label, value, {"class_name", "config"}, {"module", "registered_name"})
    kind, config = value["class_name"], value["config"]
    if value.get("module", "keras.initializers") != "keras.initializers" or value.get("registered_name") is not None:
        raise ValueError(f"{label}: custom classes are not supported")
    if not isinstance(kind, str) or not isinstance(config, dict):
        raise ValueError(f"{label} must be an initializer of Keras")
    given = dict(config)
    for axes in ("input_axes", "output_axes"):
        if given.pop(axes, None) is not None:
            raise ValueError(f"{label}: {axes} is not supported; leave it null")
    return {"name": _snake(kind), **given}


def _snake(name: str) -> str:
    return re.sub(r"(?<!^)(?=[A-Z])", "_", name[:100]).lower()


def _dtype(label: str, value: Any) -> None:
    if isinstance(value, dict):
        check_keys(f"{label}: dtype", value, {"module", "class_name", "config"}, {"registered_name"})
        own = value["module"] != "keras" or value["class_name"] != "DTypePolicy" or value.get("registered_name")
        if own or not isinstance(value["config"], dict):
            raise ValueError(f"{label}: dtype: {short(value)} is not a DTypePolicy of Keras")
        value = value["config"].get("name")
    if value not in (None, "float32", "float64"):
        raise ValueError(
            f"{label}: dtype: {short(value)} is not supported; leave it out and set `training.precision` to float32 "
            "or float64"
        )


def input_shape_of(name: str, fields: Json) -> tuple[int | None, ...]:
    """Return the shape of a sample as an InputLayer declares it; None for an open size.

    Raises:
        ValueError: The message names the layer and the field.
    """
    label = f"layer '{name}' (InputLayer)"
    check_keys(label, fields, {"batch_shape"}, {"dtype", "sparse", "ragged", "optional", "trainable"})
    if fields.get("dtype", "float32") not in ("float32", "float64", "int32", "int64"):
        raise ValueError(f"{label}: dtype: {short(fields['dtype'])} must be float32, float64, int32 or int64")
    if any(fields.get(key, False) is not False for key in ("sparse", "ragged", "optional")):
        raise ValueError(f"{label}: sparse, ragged and optional inputs are not supported")
    shape = fields["batch_shape"]
    if not isinstance(shape, list) or not 2 <= len(shape) <= MAX_DIMENSIONS + 1:
        raise ValueError(f"{label}: batch_shape: {short(shape)} must be a list of 2 to {MAX_DIMENSIONS + 1} dimensions")
    if shape[0] is not None:
        raise ValueError(f"{label}: batch_shape must begin with null; set the batch size in `training.batch_size`")
    for size in shape[1:]:
        if size is not None and (not isinstance(size, int) or isinstance(size, bool) or size < 1):
            raise ValueError(f"{label}: batch_shape: {short(size)} must be a positive integer or null")
    return tuple(shape[1:])


def _first(error: ValidationError) -> str:
    found = error.errors(include_url=False, include_input=False)[0]
    place = ".".join(str(part) for part in found["loc"])
    message = "unknown field" if found["type"] == "extra_forbidden" else found["msg"]
    return f"{place[:100]}: {message}"
