"""Reads the configuration that `model.to_json()` of Keras 3 writes, if it names only allowed layers.

This module imports nothing of Keras and resolves no name of the configuration elsewhere: Keras's own deserializer
imports modules that a configuration names, even in its safe mode (docs/decisions/0006-our-own-reader.md).
"""

import math
from typing import Any

from service.contract.network import reshaping
from service.contract.network.graph import INPUT, LayerMismatch, Network, Node, in_order
from service.contract.network.initializers import LARGEST
from service.contract.network.keras_layers import LAYERS, OPERATORS, input_shape_of, layer_of, opened, validated
from service.contract.network.layer import Layer
from service.contract.network.plain_json import Json, check_keys, check_plain, short

MAX_LAYERS = 2_000  # checked before any layer is read; `Limits.layers` is usually lower
MODULES = {
    "Sequential": ("keras", "keras.models", "keras.src.models.sequential"),
    "Functional": ("keras", "keras.models", "keras.src.models.functional"),
}
MERGING_OPERATORS = {
    "Add": "Add",
    "Multiply": "Multiply",
    "Subtract": "Subtract",
    "Maximum": "Maximum",
    "Minimum": "Minimum",
}


def read_keras_config(config: Json) -> Network:
    """Return the network of a Sequential or functional model.

    Raises:
        ValueError: The message names the layer or the field, and the reason.
    """
    check_plain(config)
    check_keys(
        "the configuration",
        config,
        {"module", "class_name", "config"},
        {"registered_name", "build_config", "compile_config"},
    )
    kind = config["class_name"]
    if not isinstance(kind, str) or kind not in MODULES:
        raise ValueError(f"class_name: {short(kind)} is neither Sequential nor Functional")
    if config["module"] not in MODULES[kind] or config.get("registered_name") not in (None, kind):
        raise ValueError(
            f"module: {short(config['module'])} is not the module of Keras's {kind}; custom classes are not supported"
        )
    inner = config["config"]
    what = f"the {kind} configuration"
    if kind == "Sequential":
        check_keys(what, inner, {"layers"}, {"name", "trainable", "dtype", "build_input_shape"})
    else:
        check_keys(what, inner, {"layers", "input_layers", "output_layers"}, {"name", "trainable", "dtype"})
    if inner.get("trainable", True) is not True:
        raise ValueError("trainable: the value must be true, because a frozen network has no gradients")
    found = inner["layers"]
    if not isinstance(found, list) or not found:
        raise ValueError("layers: the list must have at least one layer")
    if len(found) > MAX_LAYERS:
        raise ValueError(f"layers: {len(found):,} layers, at most {MAX_LAYERS:,} allowed")
    network = _sequential(found) if kind == "Sequential" else _functional(found, inner)
    if not network.nodes:
        raise ValueError("layers: there must be a layer after the input")
    return network


def _sequential(found: list[Any]) -> Network:
    nodes: list[Node] = []
    input_shape: tuple[int | None, ...] | None = None
    before = INPUT
    for position, entry in enumerate(found):
        name, kind, fields = opened(entry, position, functional=False)
        if kind == "InputLayer":
            if position > 0:
                raise ValueError(f"layer '{name}' (InputLayer) must be the first layer")
            input_shape = input_shape_of(name, fields)
            continue
        nodes.append(Node(name, layer_of(name, kind, fields), (before,)))
        before = name
    _each_name_once(nodes)
    return Network(tuple(nodes), before, input_shape)


def _functional(found: list[Any], inner: Json) -> Network:
    start = _end(inner, "input_layers")
    nodes: list[Node] = []
    input_shape: tuple[int | None, ...] | None = None
    for position, entry in enumerate(found):
        name, kind, fields = opened(entry, position, functional=True)
        if kind == "InputLayer":
            if name != start:
                raise ValueError(
                    f"layer '{name}' (InputLayer) is a second input; gradflow trains networks with one input"
                )
            if entry["inbound_nodes"] != []:
                raise ValueError(f"layer '{name}' (InputLayer): inbound_nodes must be empty")
            if input_shape is not None:
                raise ValueError(f"layer '{name}' (InputLayer) appears twice")
            input_shape = input_shape_of(name, fields)
            continue
        operator = entry["module"] in OPERATORS
        if name == start:
            raise ValueError(f"layer '{name}' ({kind}) has the same name as the input")
        inputs, constant = _inputs(name, kind, entry["inbound_nodes"], operator)
        layer = _operator(name, kind, fields, constant) if operator else layer_of(name, kind, fields)
        nodes.append(Node(name, layer, tuple(INPUT if i == start else i for i in inputs)))
    if input_shape is None:
        raise ValueError(f"input_layers: '{start}' is not the name of an InputLayer in layers")
    _each_name_once(nodes)
    end = _end(inner, "output_layers")  # checked last, because messages about layers are more specific
    if end not in {node.name for node in nodes}:
        raise ValueError(f"output_layers: '{end}' is not the name of a layer after the input")
    return Network(in_order(nodes), end, input_shape)


def _end(inner: Json, which: str) -> str:
    """Return the name of the only layer in `input_layers` or `output_layers`."""
    value = inner[which]
    if isinstance(value, list) and len(value) == 1:
        value = value[0]
    if not (isinstance(value, list) and len(value) == 3 and isinstance(value[0], str) and value[1:] == [0, 0]):
        raise ValueError(f"{which}: gradflow trains networks with one input and one output, not {short(value)}")
    name: str = value[0]
    return name


def _each_name_once(nodes: list[Node]) -> None:
    seen: set[str] = set()
    for node in nodes:
        if node.name in seen:
            raise LayerMismatch(f"layer '{node.name}' appears twice: each layer needs its own name")
        seen.add(node.name)


def _inputs(name: str, kind: str, nodes: Any, operator: bool) -> tuple[list[str], tuple[bool, float] | None]:
    """Return the names of a layer's inputs, and for an operator with a number: (whether it comes first, the number)."""
    label = f"layer '{name}' ({kind})"
    if not isinstance(nodes, list) or len(nodes) != 1:
        raise ValueError(f"{label} must be used exactly once: shared layers are not supported")
    check_keys(f"{label}: inbound_nodes", nodes[0], {"args"}, {"kwargs"})
    arguments, keywords = nodes[0]["args"], nodes[0].get("kwargs", {})
    if not isinstance(keywords, dict) or any(value is not None and value is not False for value in keywords.values()):
        raise ValueError(f"{label}: inbound_nodes: kwargs: arguments other than tensors are not supported")
    if not isinstance(arguments, list):
        raise ValueError(f"{label}: inbound_nodes: args must be a list")
    if operator:
        numbers = [(i, a) for i, a in enumerate(arguments) if isinstance(a, int | float) and not isinstance(a, bool)]
        tensors = [_tensor(label, a) for a in arguments if not isinstance(a, int | float)]
        if len(arguments) != 2 or len(numbers) > 1 or len(tensors) + len(numbers) != 2:
            raise ValueError(f"{label}: inbound_nodes: an operator takes two tensors, or one tensor and one number")
        if any(abs(number) > LARGEST for _, number in numbers):
            raise ValueError(f"{label}: inbound_nodes: a number is larger than float32 allows ({LARGEST:.0e})")
        return tensors, (numbers[0][0] == 0, float(numbers[0][1])) if numbers else None
    if len(arguments) != 1:
        raise ValueError(f"{label}: inbound_nodes: a layer takes one tensor, or one list of tensors")
    if isinstance(arguments[0], list):
        if not issubclass(LAYERS[kind], reshaping.MERGES):
            raise ValueError(f"{label} takes one input, not a list of inputs")
        return [_tensor(label, tensor) for tensor in arguments[0]], None
    return [_tensor(label, arguments[0])], None


def _tensor(label: str, tensor: Any) -> str:
    history = tensor.get("config", {}).get("keras_history") if _is_tensor(tensor) else None
    if not (isinstance(history, list) and len(history) == 3 and isinstance(history[0], str)):
        raise ValueError(f"{label}: inbound_nodes: {short(tensor)} is not the output of a layer")
    if history[1:] != [0, 0]:
        raise ValueError(
            f"{label}: inbound_nodes: the input '{short(history[0])}' must be the first output of a layer that is "
            "used once"
        )
    name: str = history[0]
    return name


def _is_tensor(value: Any) -> bool:
    return (
        isinstance(value, dict)
        and value.get("class_name") == "__keras_tensor__"
        and isinstance(value.get("config"), dict)
    )


def _operator(name: str, kind: str, fields: Json, constant: tuple[bool, float] | None) -> Layer:
    """Return the layer that computes the same as an operator such as `x + y` or `0.5 * x`."""
    label = f"layer '{name}' ({kind})"
    if fields:
        raise ValueError(f"{label} has the unknown field {short(next(iter(fields)))}")
    if constant is None:
        if kind not in MERGING_OPERATORS:
            raise ValueError(f"{label} is not supported; the supported operators are {', '.join(MERGING_OPERATORS)}")
        return LAYERS[MERGING_OPERATORS[kind]]()
    first, number = constant
    scale, offset = {
        ("Add", False): (1.0, number),
        ("Add", True): (1.0, number),
        ("Multiply", False): (number, 0.0),
        ("Multiply", True): (number, 0.0),
        ("Subtract", False): (1.0, -number),
        ("Subtract", True): (-1.0, number),
        ("TrueDivide", False): (1 / number if number else math.inf, 0.0),
        ("Divide", False): (1 / number if number else math.inf, 0.0),
    }.get((kind, first), (math.nan, 0.0))
    if not math.isfinite(scale):
        raise ValueError(f"{label} with the number {number} is not supported")
    return validated(label, reshaping.Rescaling, {"scale": scale, "offset": offset})
