"""Remedies: changes of a spec that may remove a symptom.

Each function takes the spec of a run and returns its remedies; empty if the change does not apply to the model, or if
the spec has it already. A changed spec is always valid.
"""

from collections.abc import Mapping
from typing import Any

from service.analysis.diagnosis.values import Remedy
from service.contract.model_spec import KerasModel, Mlp
from service.contract.spec import ExperimentSpec

SQUASHING = ("sigmoid", "tanh")  # activations whose derivative is small away from 0


def better_activation(spec: ExperimentSpec) -> tuple[Remedy, ...]:
    """ReLU with He initialization in place of a squashing activation (He et al. 2015)."""
    model = _mlp(spec)
    if model is None or model.activation not in SQUASHING:
        return ()
    return (
        Remedy(
            _model(spec, activation="relu", kernel_initializer="he_normal"),
            f"the derivative of {model.activation} is below 1 away from 0, and the layers multiply it; the derivative "
            "of ReLU is 1 for an active unit, and He initialization compensates for the inactive half",
        ),
    )


def leaky(spec: ExperimentSpec) -> tuple[Remedy, ...]:
    """Leaky ReLU, whose units cannot die."""
    model = _mlp(spec)
    if model is None or model.activation != "relu":
        return ()
    return (
        Remedy(
            _model(spec, activation="leaky_relu"),
            "a leaky ReLU passes a gradient for negative inputs too, so an inactive unit can become active again",
        ),
    )


def fitting_initializer(spec: ExperimentSpec) -> tuple[Remedy, ...]:
    """The initializer that preserves the size of signals under the network's activation, and biases of 0."""
    model = _mlp(spec)
    if model is None:
        return ()
    name, why = _fitting(model.activation)
    plain = model.bias_initializer.name == "zeros"
    # Normalization removes any scale of the weights. Uniform and normal initializers serve equally well.
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
            return (
                "glorot_uniform",
                "inputs with a standard deviation of at most 1 stay in the range where a sigmoid is not flat",
            )
        case "tanh" | "linear":
            return (
                "glorot_uniform",
                f"Glorot initialization preserves the size of signals under {activation}",
            )
        case "selu":
            return "lecun_normal", "SELU is designed for LeCun initialization (Klambauer et al. 2017)"
        case _:
            return "he_normal", f"He initialization compensates for what {activation} removes below 0"


def normalized(spec: ExperimentSpec) -> tuple[Remedy, ...]:
    """Layer normalization before the activation, which works at any depth and batch size."""
    model = _mlp(spec)
    if model is None or model.normalization == "layer" or model.residual != "none":
        return ()
    return (
        Remedy(
            _model(spec, normalization="layer", normalization_position="before_activation"),
            "layer normalization gives the inputs of each activation a standard deviation of 1 for any weights",
        ),
    )


def residual(spec: ExperimentSpec) -> tuple[Remedy, ...]:
    """Residual connections scaled by 1/√depth, if there are none (Yang and Schoenholz 2017)."""
    model = _mlp(spec)
    if model is None or model.residual != "none" or model.hidden_layers < 3 or len(set(model.widths)) > 1:
        return ()
    change = {"residual": "pre_activation", "normalization_position": "before_activation"}
    return (
        Remedy(
            _model(spec, **change, residual_scale="1/sqrt(depth)"),
            "the skip connection of each layer passes the gradient unscaled",
        ),
    )


def scaled_residual(spec: ExperimentSpec) -> tuple[Remedy, ...]:
    """Residual branches scaled by 1/√depth, if they are not."""
    model = _mlp(spec)
    if model is None or model.residual == "none" or model.residual_scale == "1/sqrt(depth)" or model.hidden_layers < 2:
        return ()
    return (
        Remedy(
            _model(spec, residual_scale="1/sqrt(depth)"),
            f"{model.hidden_layers} unscaled branches add up; with a factor of 1/√depth their sum no longer grows",
        ),
    )


def shallower(spec: ExperimentSpec) -> tuple[Remedy, ...]:
    """Half the hidden layers."""
    model = _mlp(spec)
    if model is None or model.hidden_units is not None or model.hidden_layers < 4:
        return ()
    return (
        Remedy(
            _model(spec, depth=model.hidden_layers // 2), "with half the layers the gradient loses half the decades"
        ),
    )


def rate(spec: ExperimentSpec, factor: float, reason: str) -> tuple[Remedy, ...]:
    """The learning rate times a factor, rounded to two digits.

    Args:
        spec: the spec of the run.
        factor: factor of the learning rate.
        reason: the reason of the remedy.
    """
    new = float(f"{spec.training.optimizer.learning_rate * factor:.2g}")
    return (Remedy({"training.optimizer.learning_rate": new}, reason),) if new > 0 else ()


def clipping(spec: ExperimentSpec) -> tuple[Remedy, ...]:
    """Clipping of the global gradient norm, if the gradient is not clipped."""
    if spec.training.gradient_clipping is not None:
        return ()
    change = {"training.gradient_clipping": {"by": "global_norm", "threshold": 1.0}}
    return (Remedy(change, "a single large gradient then has a limited effect"),)


def unclipped(spec: ExperimentSpec, threshold: float) -> tuple[Remedy, ...]:
    """A larger clipping threshold, which a typical gradient stays below.

    Args:
        spec: the spec of the run.
        threshold: the new threshold; it is rounded to two digits.
    """
    if spec.training.gradient_clipping is None:
        return ()
    return (
        Remedy(
            {"training.gradient_clipping.threshold": float(f"{threshold:.2g}")},
            "clipping should limit rare large gradients; if it cuts every gradient, it acts as a second learning rate",
        ),
    )


def scaled(spec: ExperimentSpec) -> tuple[Remedy, ...]:
    """Standardized columns, if the data are not scaled."""
    if spec.data.scale != "none":
        return ()
    return (
        Remedy({"data.scale": "standard"}, "initializers preserve the size of their inputs, which should be about 1"),
    )


def less_fitting(spec: ExperimentSpec) -> tuple[Remedy, ...]:
    """Early stopping and dropout, where they are missing."""
    found = []
    if spec.training.early_stopping is None:
        change = {"training.early_stopping": {"monitor": "val_loss", "patience": 3, "restore_best_weights": True}}
        found.append(Remedy(change, "epochs after the best one only fit noise"))
    model = _mlp(spec)
    if model is not None and model.dropout == 0:
        found.append(
            Remedy(
                _model(spec, dropout=0.2), "if units are dropped at random, the network cannot rely on any single one"
            )
        )
    return tuple(found)


def more_epochs(spec: ExperimentSpec) -> tuple[Remedy, ...]:
    """Three times as many epochs."""
    return (Remedy({"training.epochs": 3 * spec.training.epochs}, "the loss is still falling"),)


def _mlp(spec: ExperimentSpec) -> Mlp | None:
    """The model as an `mlp`; None for a Keras network, which remedies do not change."""
    return None if isinstance(spec.model, KerasModel) else spec.model.as_mlp().resolved()


def _model(spec: ExperimentSpec, **fields: Any) -> Mapping[str, Any]:
    """A change of these fields of the model; of the whole model if it is a preset, which does not have them."""
    if isinstance(spec.model, Mlp | KerasModel):
        return {f"model.{name}": value for name, value in fields.items()}
    return {"model": {**spec.model.as_mlp().model_dump(mode="json", exclude_defaults=True), "kind": "mlp", **fields}}
