"""A network as the chain of layer maps that the theory follows."""

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

from service.analysis.theory import initializer_moments
from service.analysis.theory.activations import ACTIVATIONS, Activation
from service.analysis.theory.batch_normalization import NormalizeBatch
from service.analysis.theory.directions import Layer
from service.analysis.theory.layer_maps import Activate, Dense, DropOut, LayerMap, NormalizeLayer
from service.analysis.theory.prediction import NoTheory
from service.analysis.theory.residual import Residual
from service.analysis.theory.theory_input import TheoryInput
from service.contract.model_spec import Mlp
from service.contract.network import layers

ODD = ("linear", "tanh")  # odd activations: their mean over units is 0
MAX_SAMPLES = 128  # samples of a batch that the theory follows; more would cost time and change little


@dataclass(frozen=True)
class Perceptron:
    """The description of an `mlp` that the theory needs."""

    model: Mlp
    activation: Activation
    hidden: tuple[Dense, ...]  # from input to output
    output: Dense

    @property
    def scale(self) -> float:
        """The factor α of the residual branches."""
        scale = self.model.residual_scale
        return scale if isinstance(scale, float) else 1 / math.sqrt(len(self.hidden))

    @property
    def normalizes_before(self) -> bool:
        """Whether normalization comes before the activation."""
        return self.model.residual == "pre_activation" or self.model.normalization_position == "before_activation"

    @property
    def repeats(self) -> bool:
        """Whether all hidden layers but the first are equal, without normalization, residual or dropout."""
        plain = self.model.normalization == "none" and self.model.residual == "none" and self.model.dropout == 0
        return plain and len({(d.gain, d.bias_mean, d.bias_variance) for d in self.hidden[1:]}) == 1

    @property
    def adds_up(self) -> bool:
        """Whether unscaled residuals make the signal grow along one direction from layer to layer."""
        plain = self.model.residual == "post_activation" and self.model.normalization == "none"
        return plain and self.scale == 1.0 and self.activation.name not in ODD

    def maps(self) -> Iterator[LayerMap]:
        """Layer maps from the samples to the logits, in order."""
        residual, dropout = self.model.residual, self._dropout()
        for depth, dense in enumerate(self.hidden):
            if residual == "none" or depth == 0:
                linear = residual == "pre_activation"
                yield from [replace(dense, ends_a_block=True)] if linear else self._block(depth, dense)
                yield from dropout
            elif residual == "post_activation":
                activated = self._layer(dense) if self.model.normalization == "none" else None
                yield Residual([*self._block(depth, dense), *dropout], self.scale, dense.fan_out, activated)
            else:
                block = [*self._activated(depth, dense.fan_in), replace(dense, ends_a_block=True), *dropout]
                yield Residual(block, self.scale, dense.fan_out)
        yield replace(self.output, reads_a_sum=residual != "none")

    def _layer(self, dense: Dense) -> Layer:
        return Layer(self.activation, dense.gain, dense.bias_mean, dense.bias_variance)

    def _block(self, depth: int, dense: Dense) -> list[LayerMap]:
        return [dense, *self._activated(depth, dense.fan_out)]

    def _activated(self, depth: int, units: int) -> list[LayerMap]:
        """The activation with its normalization, in their order."""
        kind = self.model.normalization
        name = f"{kind}_normalization_{depth}"
        activate = Activate(self.activation, units)
        match kind:
            case "none":
                return [activate]
            case "batch":
                return [NormalizeBatch(name, units, self.activation, self.normalizes_before, seed=depth)]
            case "layer":
                normalize = NormalizeLayer(name, units)
                return [normalize, activate] if self.normalizes_before else [activate, normalize]

    def _dropout(self) -> list[LayerMap]:
        return [DropOut(self.model.dropout)] if self.model.dropout > 0 else []


def perceptron_of(given: TheoryInput) -> Perceptron:
    """The network as the theory describes it.

    Raises:
        NoTheory: batch normalization has a batch of one sample, or the weights are not drawn independently around 0.
    """
    model = given.model
    if model.normalization == "batch" and given.batch_size == 1:
        raise NoTheory("batch normalization maps a batch of one sample to a constant, so no gradient passes through it")
    dense: list[Dense] = []
    for node in given.network.nodes:
        if isinstance(node.layer, layers.Dense):
            fan_in = dense[-1].fan_out if dense else math.prod(given.input_shape)
            dense.append(_dense(node.name, node.layer, fan_in))
    return Perceptron(model, ACTIVATIONS[model.activation], tuple(dense[:-1]), dense[-1])


def _dense(name: str, layer: layers.Dense, fan_in: int) -> Dense:
    kernel = initializer_moments.of_kernel(layer.kernel_initializer, fan_in, layer.units, name)
    bias = initializer_moments.of_bias(layer.bias_initializer, layer.units)
    orthogonal = layer.kernel_initializer.name == "orthogonal"
    return Dense(name, fan_in, layer.units, kernel.variance, bias.mean, bias.variance, orthogonal)
