"""Makes the network of a multilayer perceptron's spec."""

import math
from functools import cache

from service.contract.model_spec import Mlp
from service.contract.network.graph import INPUT, Network, Node
from service.contract.network.layer import Layer, Shape
from service.contract.network.layers import Activation, BatchNormalization, Dense, Dropout, LayerNormalization
from service.contract.network.reshaping import Add, Flatten, Rescaling


class _Chain:
    """Collects nodes; each takes the previous one as its input unless the caller names others."""

    def __init__(self) -> None:
        self.nodes: list[Node] = []
        self.end = INPUT

    def add(self, name: str, layer: Layer, *inputs: str) -> None:
        self.nodes.append(Node(name, layer, inputs or (self.end,)))
        self.end = name


def network_of_mlp(model: Mlp, input_shape: Shape, output_units: int, output_activation: str) -> Network:
    """Return a network of hidden layers, whose names end in their depth from 0, and the layer `output`.

    Args:
        model: The perceptron; it may have open defaults.
        input_shape: Shape of a sample; more than one dimension is flattened.
        output_units: Units of the output layer.
        output_activation: Activation of the output layer.
    """
    chain, parts, scale = _Chain(), _Parts(model), _scale(model)
    if len(input_shape) > 1:
        chain.add("flatten", Flatten())
    for depth, units in enumerate(model.widths):
        if model.residual == "none" or depth == 0:
            _hidden(chain, model, parts, depth, units)
            continue
        before = chain.end
        _hidden(chain, model, parts, depth, units)
        if scale != 1.0:
            chain.add(f"residual_scale_{depth}", Rescaling(scale=scale))
        chain.add(f"residual_{depth}", Add(), before, chain.end)
    output = Dense.model_validate(
        {
            "units": output_units,
            "activation": output_activation,
            "kernel_initializer": model.output_kernel_initializer,
        }
    )
    chain.add("output", output)
    return Network(tuple(chain.nodes), "output")


def _scale(model: Mlp) -> float:
    if isinstance(model.residual_scale, float):
        return model.residual_scale
    return 1 / math.sqrt(model.hidden_layers)


class _Parts:
    """The parts of a hidden layer. Hidden layers of the same width share them, because layers are immutable."""

    def __init__(self, model: Mlp) -> None:
        self._model = model
        self.activation = Activation(activation=model.activation)
        self.dropout = Dropout(rate=model.dropout)
        self.normalization = {"batch": BatchNormalization(), "layer": LayerNormalization()}.get(model.normalization)
        self.dense = cache(self._dense)

    def _dense(self, units: int, activation: str) -> Dense:
        model = self._model
        return Dense.model_validate(
            {
                "units": units,
                "activation": activation,
                "kernel_initializer": model.kernel_initializer,
                "bias_initializer": model.bias_initializer,
            }
        )


def _hidden(chain: _Chain, model: Mlp, parts: _Parts, depth: int, units: int) -> None:
    """Add one hidden layer with its normalization and dropout."""

    def normalize() -> None:
        if parts.normalization is not None:
            chain.add(f"{model.normalization}_normalization_{depth}", parts.normalization)

    if model.residual == "pre_activation":
        if depth > 0:
            normalize()
            chain.add(f"activation_{depth}", parts.activation)
        chain.add(f"dense_{depth}", parts.dense(units, "linear"))
    elif parts.normalization is not None and model.normalization_position == "before_activation":
        chain.add(f"dense_{depth}", parts.dense(units, "linear"))
        normalize()
        chain.add(f"activation_{depth}", parts.activation)
    else:
        chain.add(f"dense_{depth}", parts.dense(units, model.activation))
        normalize()
    if model.dropout > 0:
        chain.add(f"dropout_{depth}", parts.dropout)
