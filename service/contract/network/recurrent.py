"""Recurrent layers over sequences [steps, features]."""

from typing import Any, ClassVar, Literal

from pydantic import Field

from service.contract.network.initializers import Fixed, Initializer, Orthogonal, Scaled
from service.contract.network.layer import ActivationName, Layer, Part, Shape, Size, of_rank


class _Recurrent(Layer):
    units: Size
    activation: ActivationName = "tanh"
    use_bias: bool = True
    kernel_initializer: Initializer = Scaled(name="glorot_uniform")
    recurrent_initializer: Initializer = Orthogonal(name="orthogonal")
    bias_initializer: Initializer = Fixed(name="zeros")
    dropout: Part = 0.0
    recurrent_dropout: Part = 0.0
    seed: int | None = Field(None, ge=0, lt=2**31)
    return_sequences: bool = False
    return_state: Literal[False] = False
    go_backwards: bool = False
    stateful: Literal[False] = False
    unroll: bool = False
    zero_output_for_mask: Literal[False] = False

    has_kernel: ClassVar[bool] = True
    gates: ClassVar[int] = 1

    def arguments(self) -> dict[str, Any]:
        """Return the arguments with `unroll` off: the values are the same, and the program stays small."""
        return {**super().arguments(), "unroll": False}

    def output_shape(self, *inputs: Shape) -> Shape:
        """Return [units], or [steps, units] with `return_sequences`."""
        steps, _ = of_rank(inputs, 2, "[steps, features]")
        return (steps, self.units) if self.return_sequences else (self.units,)

    def values(self, output: Shape, *inputs: Shape) -> int:
        """Return the size of the gates and of the state over all steps."""
        del output
        return inputs[0][0] * (self.gates + 1) * self.units

    def variables(self, *inputs: Shape) -> tuple[tuple[str, Shape], ...]:
        """Return kernel [features, gates · units], recurrent kernel [units, gates · units] and bias."""
        features, wide = inputs[0][-1], self.gates * self.units
        kernels = (("kernel", (features, wide)), ("recurrent_kernel", (self.units, wide)))
        return (*kernels, ("bias", self._bias_shape(wide))) if self.use_bias else kernels

    def _bias_shape(self, wide: int) -> Shape:
        return (wide,)


class SimpleRNN(_Recurrent):
    """Elman 1990: the next state is activation(x W + state U + b)."""


class LSTM(_Recurrent):
    """Hochreiter and Schmidhuber 1997, with forget gates (Gers, Schmidhuber and Cummins 2000)."""

    recurrent_activation: ActivationName = "sigmoid"
    unit_forget_bias: bool = True

    gates: ClassVar[int] = 4


class GRU(_Recurrent):
    """Cho et al. 2014."""

    recurrent_activation: ActivationName = "sigmoid"
    reset_after: bool = True

    gates: ClassVar[int] = 3

    def _bias_shape(self, wide: int) -> Shape:
        return (2, wide) if self.reset_after else (wide,)
