"""Changes of a spec that answer a symptom, and that the spec does not have already."""

from collections.abc import Mapping
from typing import Any

from service.analysis.diagnosis.values import Remedy
from service.contract.model_spec import KerasModel, Mlp
from service.contract.spec import ExperimentSpec

SQUASHING = ("sigmoid", "tanh")


def better_activation(spec: ExperimentSpec) -> tuple[Remedy, ...]:
    """ReLU with He's initialization where units squash what they add up."""
    model = _mlp(spec)
    if model is None or model.activation not in SQUASHING:
        return ()
    return (
        Remedy(
            _model(spec, activation="relu", kernel_initializer="he_normal"),
            f"the derivative of {model.activation} is below 1 away from 0 and multiplies up over the layers; ReLU's is "
            "1 where a unit is active, and He's initialization makes up for the other half",
        ),
    )


def leaky(spec: ExperimentSpec) -> tuple[Remedy, ...]:
    """A ReLU with a slope below 0, which cannot die."""
    model = _mlp(spec)
    if model is None or model.activation != "relu":
        return ()
    return (
        Remedy(
            _model(spec, activation="leaky_relu"),
            "a leaky ReLU passes a gradient below 0 too, so a unit that is off can come back",
        ),
    )


def fitting_initializer(spec: ExperimentSpec) -> tuple[Remedy, ...]:
    """The deviation of the weights that keeps signals the same size under the network's activation."""
    model = _mlp(spec)
    if model is None:
        return ()
    name, why = _fitting(model.activation)
    plain = model.bias_initializer.name == "zeros"
    # Normalization undoes any scale of the weights; uniform or normal is the same.
    fits = model.normalization != "none" or model.kernel_initializer.name.startswith(name.partition("_")[0])
    if fits and plain:
        return ()
    change: dict[str, Any] = {} if fits else {"kernel_initializer": name}
    if not plain:
        change["bias_initializer"] = "zeros"
    return (Remedy(_model(spec, **change), why),)


def _fitting(activation: str) -> tuple[str, str]:
    match activation:
        case "sigmoid":
            return "glorot_uniform", "inputs of deviation 1 and less stay where a sigmoid is not flat"
        case "tanh" | "linear":
            return (
                "glorot_uniform",
                f"Glorot's deviation keeps the size of signals under {activation}",
            )
        case "selu":
            return "lecun_normal", "SELU is made for LeCun's deviation (Klambauer et al. 2017)"
        case _:
            return "he_normal", f"He's deviation makes up for what {activation} takes away below 0"


def normalized(spec: ExperimentSpec) -> tuple[Remedy, ...]:
    """Layer normalization before the activation, which neither depth nor batch size spoils."""
    model = _mlp(spec)
    if model is None or model.normalization == "layer" or model.residual != "none":
        return ()
    return (
        Remedy(
            _model(spec, normalization="layer", normalization_position="before_activation"),
            "layer normalization brings each layer's inputs back to deviation 1, whatever the weights are",
        ),
    )


def residual(spec: ExperimentSpec) -> tuple[Remedy, ...]:
    """Residual connections scaled by the depth, where there are none."""
    model = _mlp(spec)
    if model is None or model.residual != "none" or model.hidden_layers < 3 or len(set(model.widths)) > 1:
        return ()
    change = {"residual": "pre_activation", "normalization_position": "before_activation"}
    return (
        Remedy(
            _model(spec, **change, residual_scale="1/sqrt(depth)"),
            "around each layer the gradient has a way on which nothing is multiplied to it",
        ),
    )


def scaled_residual(spec: ExperimentSpec) -> tuple[Remedy, ...]:
    """The branches of residual connections scaled by the depth, where they are not."""
    model = _mlp(spec)
    if model is None or model.residual == "none" or model.residual_scale == "1/sqrt(depth)" or model.hidden_layers < 2:
        return ()
    return (
        Remedy(
            _model(spec, residual_scale="1/sqrt(depth)"),
            f"{model.hidden_layers} unscaled branches add up; over √depth their sum stays the same size at any depth",
        ),
    )


def shallower(spec: ExperimentSpec) -> tuple[Remedy, ...]:
    """Half the hidden layers."""
    model = _mlp(spec)
    if model is None or model.hidden_units is not None or model.hidden_layers < 4:
        return ()
    return (Remedy(_model(spec, depth=model.hidden_layers // 2), "half the layers lose half the decades"),)


def rate(spec: ExperimentSpec, factor: float, reason: str) -> tuple[Remedy, ...]:
    """The learning rate times a factor."""
    new = float(f"{spec.training.optimizer.learning_rate * factor:.2g}")
    return (Remedy({"training.optimizer.learning_rate": new}, reason),) if new > 0 else ()


def clipping(spec: ExperimentSpec) -> tuple[Remedy, ...]:
    """A bound on the norm of the whole gradient."""
    if spec.training.gradient_clipping is not None:
        return ()
    change = {"training.gradient_clipping": {"by": "global_norm", "threshold": 1.0}}
    return (Remedy(change, "no single step can then be larger than the learning rate"),)


def unclipped(spec: ExperimentSpec, threshold: float) -> tuple[Remedy, ...]:
    """A threshold that the usual gradient passes under."""
    if spec.training.gradient_clipping is None:
        return ()
    return (
        Remedy(
            {"training.gradient_clipping.threshold": float(f"{threshold:.2g}")},
            "clipping is against the rare large gradient; what cuts every one is a second learning rate",
        ),
    )


def scaled(spec: ExperimentSpec) -> tuple[Remedy, ...]:
    """Columns with mean 0 and deviation 1."""
    if spec.data.scale != "none":
        return ()
    return (
        Remedy({"data.scale": "standard"}, "initializers keep the size of what they are given: inputs of deviation 1"),
    )


def less_fitting(spec: ExperimentSpec) -> tuple[Remedy, ...]:
    """Dropout and an end at the best epoch."""
    found = []
    if spec.training.early_stopping is None:
        change = {"training.early_stopping": {"monitor": "val_loss", "patience": 3, "restore_best_weights": True}}
        found.append(Remedy(change, "what comes after the best epoch only fits noise"))
    model = _mlp(spec)
    if model is not None and model.dropout == 0:
        found.append(Remedy(_model(spec, dropout=0.2), "with units left out at random the network cannot rely on any"))
    return tuple(found)


def more_epochs(spec: ExperimentSpec) -> tuple[Remedy, ...]:
    """Three times as long."""
    return (Remedy({"training.epochs": 3 * spec.training.epochs}, "the loss is still falling"),)


def _mlp(spec: ExperimentSpec) -> Mlp | None:
    """The model, field by field; None where it is the user's own network, which no field of ours changes."""
    return None if isinstance(spec.model, KerasModel) else spec.model.as_mlp().resolved()


def _model(spec: ExperimentSpec, **fields: Any) -> Mapping[str, Any]:
    """These fields of the model, or the whole of it where a preset does not have them."""
    if isinstance(spec.model, Mlp | KerasModel):
        return {f"model.{name}": value for name, value in fields.items()}
    return {"model": {**spec.model.as_mlp().model_dump(mode="json", exclude_defaults=True), "kind": "mlp", **fields}}
