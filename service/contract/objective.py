"""Loss, label encoding and metrics that follow from the spec, the data and the network."""

from dataclasses import dataclass
from typing import Literal

from service.contract.data_spec import DataShape
from service.contract.errors import InvalidSpec
from service.contract.network.graph import Network
from service.contract.network.layer import Shape
from service.contract.training_spec import Loss

# The activation whose outputs each cross-entropy reads as probabilities.
PROBABILITIES = {"binary_crossentropy": "sigmoid", "categorical_crossentropy": "softmax"}
CROSS_ENTROPIES = tuple(PROBABILITIES)


@dataclass(frozen=True)
class Objective:
    """A loss and the form of labels and outputs that it reads."""

    loss: Literal["binary_crossentropy", "categorical_crossentropy", "mse", "mae", "huber"]
    from_logits: bool  # the network ends without sigmoid or softmax
    output_units: int  # entries of the output per label
    classes: int | None  # None for regression

    @property
    def metrics(self) -> tuple[str, ...]:
        """Metrics of each epoch in addition to the loss."""
        return ("accuracy",) if self.classes is not None else ("mse", "mae")

    @property
    def epoch_metrics(self) -> tuple[str, ...]:
        """Loss and metrics of an epoch, of training and then of validation, in the order of the stored history."""
        names = ("loss", *self.metrics)
        return (*names, *(f"val_{name}" for name in names))


def output_of_mlp(shape: DataShape, loss: Loss) -> tuple[int, str]:
    """Return units and activation of the output layer that a perceptron needs for the labels and the loss.

    Raises:
        InvalidSpec: The loss does not fit to the labels, or a perceptron cannot predict them.
    """
    classes = shape.classes
    if classes is None:
        if loss in CROSS_ENTROPIES:
            raise _needs_classes(loss)
        if len(shape.target_shape) != 1:
            raise InvalidSpec(("data",), f"targets of shape {list(shape.target_shape)} need a model of kind keras")
        return shape.target_shape[0], "linear"
    if shape.target_shape:
        raise InvalidSpec(
            ("model", "kind"),
            f"the data have {shape.target_shape[0]} labels per sample, one per time step: use a model of kind keras",
        )
    if loss == "binary_crossentropy" and classes > 2:
        raise InvalidSpec(
            ("training", "loss"),
            f"binary_crossentropy needs two classes, but the data have {classes}: write categorical_crossentropy",
        )
    if loss == "categorical_crossentropy" or classes > 2:
        return classes, "softmax"
    return 1, "sigmoid"


def objective_for(network: Network, output_shape: Shape, shape: DataShape, loss: Loss) -> Objective:
    """Return the objective of a network on this data.

    Args:
        network: The network.
        output_shape: Shape of its output per sample.
        shape: The shape of the data.
        loss: The loss of the spec, which may be `auto`.

    Raises:
        InvalidSpec: Output, loss and labels do not fit together.
    """
    if shape.classes is None:
        return _regression(network, output_shape, shape, loss)
    units = output_shape[-1]
    if output_shape[:-1] != shape.target_shape:
        wanted = [*shape.target_shape, 1 if shape.classes == 2 else shape.classes]
        raise InvalidSpec(
            ("model",), f"the network's output has shape {list(output_shape)} per sample, but the labels need {wanted}"
        )
    if units not in ((1, shape.classes) if shape.classes == 2 else (shape.classes,)):
        needed = "one sigmoid unit or two softmax units" if shape.classes == 2 else f"{shape.classes} softmax units"
        raise InvalidSpec(
            ("model",), f"the data have {shape.classes} classes, which need {needed}; the network ends in {units}"
        )
    if loss == "auto":
        loss = "binary_crossentropy" if units == 1 else "categorical_crossentropy"
    if loss == "categorical_crossentropy" and units == 1:
        raise InvalidSpec(
            ("training", "loss"),
            "categorical_crossentropy needs one unit per class, but the network ends in one unit: "
            "write binary_crossentropy",
        )
    return Objective(loss, _from_logits(network, loss), units, shape.classes)


def _regression(network: Network, output_shape: Shape, shape: DataShape, loss: Loss) -> Objective:
    if output_shape != shape.target_shape:
        raise InvalidSpec(
            ("model",),
            f"the network's output has shape {list(output_shape)} per sample, but the targets have "
            f"shape {list(shape.target_shape)}",
        )
    if loss in CROSS_ENTROPIES:
        raise _needs_classes(loss)
    if network.output_activation in PROBABILITIES.values():
        raise InvalidSpec(
            ("model",),
            f"the network ends in {network.output_activation}, but the data have regression targets: "
            "end in a linear layer",
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
            f"{loss} reads {PROBABILITIES[loss]} outputs, or the outputs of a linear layer as logits; "
            f"the network ends in {last}",
        )
    return False


def _needs_classes(loss: str) -> InvalidSpec:
    return InvalidSpec(
        ("training", "loss"), f"{loss} needs classes, but the data have regression targets: use mse, mae or huber"
    )
