"""Keras models as parts of a spec."""

from typing import Any


def keras_model(*layers: tuple[str, dict[str, Any]]) -> dict[str, Any]:
    """A Sequential model as `to_json` prints it."""
    listed = [
        {"module": "keras.layers", "class_name": kind, "config": {"name": f"layer_{i}", **fields}}
        for i, (kind, fields) in enumerate(layers)
    ]
    config = {"module": "keras", "class_name": "Sequential", "config": {"name": "own", "layers": listed}}
    return {"kind": "keras", "config": config}


def units(units: int, activation: str, **more: Any) -> tuple[str, dict[str, Any]]:
    return "Dense", {"units": units, "activation": activation, **more}


def with_a_layer_next_to_the_output() -> dict[str, Any]:
    """A functional model with a layer `unused`: it reads the data, as `output` does, and no layer reads it."""
    tensor = {"class_name": "__keras_tensor__", "config": {"shape": [None, 20], "keras_history": ["data", 0, 0]}}
    read = [{"args": [tensor], "kwargs": {}}]

    def layer(kind: str, name: str, inbound: list[Any], **fields: Any) -> dict[str, Any]:
        config = {"name": name, **fields}
        return {
            "module": "keras.layers",
            "class_name": kind,
            "name": name,
            "config": config,
            "inbound_nodes": inbound,
        }

    layers = [
        layer("InputLayer", "data", [], batch_shape=[None, 20]),
        layer("Dense", "unused", read, units=3),
        layer("Dense", "output", read, units=1, activation="sigmoid"),
    ]
    inner = {"layers": layers, "input_layers": [["data", 0, 0]], "output_layers": [["output", 0, 0]]}
    return {"kind": "keras", "config": {"module": "keras", "class_name": "Functional", "config": inner}}
