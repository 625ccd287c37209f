"""The part of a plan that the mean-field theory reads, as one value."""

from dataclasses import dataclass
from functools import cached_property
from typing import Literal

from service.analysis.theory.prediction import NoTheory
from service.contract.data_spec import DataSpec
from service.contract.model_spec import KerasModel, Mlp
from service.contract.network.graph import Network, Variable
from service.contract.network.layer import Shape
from service.contract.network.mlp import network_of_mlp
from service.contract.objective import PROBABILITIES, Objective
from service.contract.plan import Plan


@dataclass(frozen=True)
class TheoryInput:
    """A network before its first step. Two plans with equal inputs have equal predictions, caveats and warnings.

    The value is hashable, so that a cache can use it as its key.
    """

    model: Mlp  # resolved
    data: DataSpec  # without its seed
    input_shape: Shape
    objective: Objective
    batch_size: int
    precision: Literal["float32", "float64"]

    @classmethod
    def of(cls, plan: Plan) -> "TheoryInput":
        """The input of the theory for a plan.

        Raises:
            NoTheory: the model is a Keras network.
        """
        spec = plan.spec
        if isinstance(spec.model, KerasModel):
            raise NoTheory("theory covers the presets and models of kind mlp only")
        return cls(
            spec.model.as_mlp().resolved(),
            spec.data.model_copy(update={"seed": None}),
            plan.shape.input_shape,
            plan.objective,
            plan.batch_size,
            spec.training.precision,
        )

    @cached_property
    def network(self) -> Network:
        """The network that the model describes."""
        units, activation = self.objective.output_units, PROBABILITIES.get(self.objective.loss, "linear")
        return network_of_mlp(self.model, self.input_shape, units, activation)

    @property
    def variables(self) -> tuple[Variable, ...]:
        """Every trainable variable from input to output."""
        return self.network.variables(self.input_shape)
