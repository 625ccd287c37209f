"""What a network is trained towards: which loss, on which form of labels, and which figures judge it."""

from dataclasses import dataclass
from typing import Literal

from service.contract.data_spec import DataShape
from service.contract.errors import InvalidSpec
from service.contract.network.graph import Network
from service.contract.network.layer import Shape
from service.contract.training_spec import Loss

CROSS_ENTROPIES = ("binary_crossentropy", "categorical_crossentropy")
NUMBERS = {"mse": "the mean squared error", "mae": "the mean absolute error", "huber": "the Huber loss"}
PROBABILITIES = {"binary_crossentropy": "sigmoid", "categorical_crossentropy": "softmax"}


@dataclass(frozen=True)
class Objective:
    """A loss, and how labels and outputs are read for it."""

    loss: Literal["binary_crossentropy", "categorical_crossentropy", "mse", "mae", "huber"]
    from_logits: bool  # the output ends without sigmoid or softmax
    output_units: int  # entries of the output for each label
    classes: int | None  # None for regression

    @property
    def metrics(self) -> tuple[str, ...]:
        """What is reported of each epoch beside the loss."""
        return ("accuracy",) if self.classes is not None else ("mse", "mae")

    @property
    def epoch_metrics(self) -> tuple[str, ...]:
        """Figures of an epoch in the order in which they are stored."""
        names = ("loss", *self.metrics)
        return (*names, *(f"val_{name}" for name in names))


def output_of_mlp(shape: DataShape, loss: Loss) -> tuple[int, str]:
    """Units and activation of the output layer that the labels and the loss ask for.

    Raises:
        InvalidSpec: the loss does not go with the labels.
    """
    classes = shape.classes
    if classes is None:
        if loss in CROSS_ENTROPIES:
            raise InvalidSpec(
                ("training", "loss"), f"{loss} wants classes, the labels are numbers: take mse, mae or huber"
            )
        if len(shape.target_shape) != 1:
            raise InvalidSpec(("data",), f"targets of shape {list(shape.target_shape)} want a network of your own")
        return shape.target_shape[0], "linear"
    if shape.target_shape:
        raise InvalidSpec(
            ("model", "kind"),
            f"the data have {shape.target_shape[0]} labels a row, one a time step, which want a network of kind keras",
        )
    if loss == "binary_crossentropy" and classes > 2:
        raise InvalidSpec(
            ("training", "loss"),
            f"binary_crossentropy wants two classes, the data have {classes}: categorical_crossentropy",
        )
    if loss == "categorical_crossentropy" or classes > 2:
        return classes, "softmax"
    return 1, "sigmoid"


def objective_for(network: Network, output_shape: Shape, shape: DataShape, loss: Loss) -> Objective:
    """The objective of a network on this data.

    Raises:
        InvalidSpec: output, loss and labels do not go together.
    """
    if shape.classes is None:
        return _of_numbers(network, output_shape, shape, loss)
    units = output_shape[-1]
    if output_shape[:-1] != shape.target_shape:
        wanted = [*shape.target_shape, 1 if shape.classes == 2 else shape.classes]
        raise InvalidSpec(("model",), f"the network gives {list(output_shape)} a row, the labels want {wanted}")
    if units not in ((1, shape.classes) if shape.classes == 2 else (shape.classes,)):
        wants = "one sigmoid unit or two softmax units" if shape.classes == 2 else f"{shape.classes} softmax units"
        raise InvalidSpec(
            ("model",), f"the data have {shape.classes} classes, which want {wants}; the network ends in {units}"
        )
    if loss == "auto":
        loss = "binary_crossentropy" if units == 1 else "categorical_crossentropy"
    if loss == "categorical_crossentropy" and units == 1:
        raise InvalidSpec(
            ("training", "loss"), "categorical_crossentropy wants one unit a class, the network ends in one"
        )
    return Objective(loss, _from_logits(network, loss), units, shape.classes)


def _of_numbers(network: Network, output_shape: Shape, shape: DataShape, loss: Loss) -> Objective:
    if output_shape != shape.target_shape:
        raise InvalidSpec(
            ("model",),
            f"the network gives {list(output_shape)} a row, the targets have shape {list(shape.target_shape)}",
        )
    if loss in CROSS_ENTROPIES:
        raise InvalidSpec(("training", "loss"), f"{loss} wants classes, the labels are numbers: take mse, mae or huber")
    if network.output_activation in PROBABILITIES.values():
        raise InvalidSpec(
            ("model",),
            f"the network ends in {network.output_activation}, the targets are numbers: end in a linear layer",
        )
    return Objective("mse" if loss == "auto" else loss, False, output_shape[-1], None)


def _from_logits(network: Network, loss: str) -> bool:
    if loss not in CROSS_ENTROPIES:
        return False
    last = network.output_activation
    if last == "linear":
        return True
    if last != PROBABILITIES[loss] and not (loss == "binary_crossentropy" and last == "hard_sigmoid"):
        raise InvalidSpec(
            ("model",),
            f"{loss} reads {PROBABILITIES[loss]} outputs, or those of a linear layer as logits; "
            f"the network ends in {last}",
        )
    return False
