"""Multilayer perceptrons with explicit weights in float64 NumPy, as a reference for the theory.

They share no code with the theory or Keras: layers, derivatives, losses and initializers are written out.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.special import erf, expit

from service.contract.model_spec import Mlp
from service.contract.network.initializers import Initializer

Array = npt.NDArray[np.float64]
Back = Callable[[Array], Array]
EPSILON = 0.001  # default epsilon of both normalizations in Keras


@dataclass(frozen=True)
class Step:
    """The gradient of one batch."""

    norms: Mapping[str, float]  # variable -> norm of the batch-mean gradient
    errors: Array  # [batch, outputs], batch · ∂loss/∂logits


class SimulatedNetwork:
    """A network whose weights are drawn from a generator during its forward pass."""

    def __init__(self, model: Mlp, random: np.random.Generator) -> None:
        self._model = model.resolved()
        self._random = random
        self._norms: dict[str, float] = {}

    def step(self, inputs: Array, targets: Array, loss: str) -> Step:
        """One forward and backward pass.

        Args:
            inputs: [batch, *input_shape].
            targets: [batch, outputs]; one-hot classes, 0 or 1, or regression targets.
            loss: name of the loss in Keras.
        """
        model = self._model
        h, backs = inputs.reshape(len(inputs), -1), list[Back]()
        scale = model.residual_scale if isinstance(model.residual_scale, float) else model.hidden_layers**-0.5
        for depth, units in enumerate(model.widths):
            made, back = self._hidden(h, depth, units)
            if model.residual != "none" and depth > 0:
                h, back = h + scale * made, _added(back, scale)
            else:
                h = made
            backs.append(back)
        logits, back = self._dense(h, "output", targets.shape[1], model.output_kernel_initializer, None)
        errors = _errors(logits, targets, loss)
        gradient = back(errors)
        for back in reversed(backs):
            gradient = back(gradient)
        return Step(self._norms, errors)

    def _hidden(self, h: Array, depth: int, units: int) -> tuple[Array, Back]:
        model = self._model
        parts: list[Callable[[Array], tuple[Array, Back]]]

        def dense(h: Array) -> tuple[Array, Back]:
            return self._dense(h, f"dense_{depth}", units, model.kernel_initializer, model.bias_initializer)

        def normalize(h: Array) -> tuple[Array, Back]:
            name = f"{model.normalization}_normalization_{depth}"
            return self._normalize(h, name, axis=0 if model.normalization == "batch" else 1)

        def activate(h: Array) -> tuple[Array, Back]:
            value, slope = activation(model.activation, h)
            return value, lambda g: g * slope

        if model.residual == "pre_activation":
            parts = [normalize, activate, dense] if depth > 0 else [dense]
        elif model.normalization_position == "before_activation":
            parts = [dense, normalize, activate]
        else:
            parts = [dense, activate, normalize]
        if model.normalization == "none":
            parts = [part for part in parts if part is not normalize]
        if model.dropout > 0:
            parts.append(self._drop)
        backs = []
        for part in parts:
            h, back = part(h)
            backs.append(back)
        return h, _chained(backs)

    def _dense(
        self, h: Array, name: str, units: int, kernel: Initializer, bias: Initializer | None
    ) -> tuple[Array, Back]:
        w = draw(kernel, (h.shape[1], units), self._random)
        b = np.zeros(units) if bias is None else draw(bias, (units,), self._random)

        def back(g: Array) -> Array:
            self._norms[f"{name}/kernel"] = float(np.linalg.norm(h.T @ g)) / len(h)
            self._norms[f"{name}/bias"] = float(np.linalg.norm(g.sum(axis=0))) / len(h)
            return g @ w.T

        return h @ w + b, back

    def _normalize(self, h: Array, name: str, axis: int) -> tuple[Array, Back]:
        centered = h - h.mean(axis=axis, keepdims=True)
        deviation = np.sqrt((centered**2).mean(axis=axis, keepdims=True) + EPSILON)
        value = centered / deviation

        def back(g: Array) -> Array:
            self._norms[f"{name}/gamma"] = float(np.linalg.norm((g * value).sum(axis=0))) / len(h)
            self._norms[f"{name}/beta"] = float(np.linalg.norm(g.sum(axis=0))) / len(h)
            mean, along = g.mean(axis=axis, keepdims=True), (g * value).mean(axis=axis, keepdims=True)
            found: Array = (g - mean - value * along) / deviation
            return found

        return value, back

    def _drop(self, h: Array) -> tuple[Array, Back]:
        mask = (self._random.random(h.shape) >= self._model.dropout) / (1 - self._model.dropout)
        return h * mask, lambda g: g * mask


def activation(name: str, u: Array) -> tuple[Array, Array]:
    """φ(u) and φ'(u) of an activation, as Keras defines them."""
    below, s, t = np.exp(np.minimum(u, 0.0)), expit(u), np.tanh(u)
    bell, cdf = np.exp(-(u**2) / 2) / np.sqrt(2 * np.pi), (1 + erf(u / np.sqrt(2))) / 2
    alpha, scale = 1.67326324235437728, 1.05070098735548049
    positive = u > 0
    found: tuple[Array, Array] = {
        "linear": (u, np.ones_like(u)),
        "relu": (np.where(positive, u, 0.0), np.where(positive, 1.0, 0.0)),
        "leaky_relu": (np.where(positive, u, 0.2 * u), np.where(positive, 1.0, 0.2)),
        "sigmoid": (s, s * (1 - s)),
        "tanh": (t, 1 - t**2),
        "elu": (np.where(positive, u, below - 1), np.where(positive, 1.0, below)),
        "selu": (scale * np.where(positive, u, alpha * (below - 1)), scale * np.where(positive, 1.0, alpha * below)),
        "gelu": (u * cdf, cdf + u * bell),
        "silu": (u * s, s * (1 + u * (1 - s))),
        "softplus": (np.logaddexp(0.0, u), s),
    }[name]
    return found


def draw(initializer: Initializer, shape: tuple[int, ...], random: np.random.Generator) -> Array:
    """Entries with the distribution that Keras draws from; the shape of a kernel is [fan-in, fan-out]."""
    fields = initializer.model_dump()
    number: Mapping[str, float] = fields
    name = initializer.name
    fan_in, fan_out = shape[0], shape[-1]
    if name in ("zeros", "ones", "constant"):
        return np.full(shape, {"zeros": 0.0, "ones": 1.0}.get(name, number.get("value", 0.0)))
    if name in ("normal", "random_normal"):
        return number["mean"] + number["stddev"] * random.standard_normal(shape)
    if name == "truncated_normal":
        return number["mean"] + number["stddev"] * _truncated(shape, random)
    if name in ("uniform", "random_uniform"):
        return random.uniform(number["minval"], number["maxval"], shape)
    if name == "orthogonal":
        q, r = np.linalg.qr(random.standard_normal((max(shape), min(shape))))
        turned: Array = number["gain"] * q * np.sign(np.diagonal(r))  # uniformly distributed over orthogonal matrices
        return turned if fan_in >= fan_out else turned.T
    if name == "variance_scaling":
        scale, mode, distribution = number["scale"], fields["mode"], fields["distribution"]
    else:
        family, _, form = name.partition("_")
        scale, mode = {"glorot": (1.0, "fan_avg"), "he": (2.0, "fan_in"), "lecun": (1.0, "fan_in")}[family]
        distribution = "uniform" if form == "uniform" else "truncated_normal"
    fan = {"fan_in": fan_in, "fan_out": fan_out, "fan_avg": (fan_in + fan_out) / 2}[mode]
    deviation: float = np.sqrt(scale / fan)
    if distribution == "uniform":
        return random.uniform(-deviation, deviation, shape) * 3**0.5
    if distribution == "untruncated_normal":
        return deviation * random.standard_normal(shape)
    truncated_deviation = 0.87962566103423978  # standard deviation of a normal truncated at two standard deviations
    return deviation * _truncated(shape, random) / truncated_deviation


def _truncated(shape: tuple[int, ...], random: np.random.Generator) -> Array:
    found = random.standard_normal(shape)
    while (beyond := np.abs(found) > 2).any():
        found[beyond] = random.standard_normal(int(beyond.sum()))
    return found


def _errors(logits: Array, targets: Array, loss: str) -> Array:
    """Batch · ∂loss/∂logits [batch, outputs] of a loss that is a mean over samples."""
    outputs = logits.shape[1]
    found: Array
    if loss == "binary_crossentropy":
        found = expit(logits) - targets
    elif loss == "categorical_crossentropy":
        powers = np.exp(logits - logits.max(axis=1, keepdims=True))
        found = powers / powers.sum(axis=1, keepdims=True) - targets
    elif loss == "mse":
        found = 2 * (logits - targets) / outputs
    elif loss == "mae":
        found = np.sign(logits - targets) / outputs
    elif loss == "huber":
        found = np.clip(logits - targets, -1, 1) / outputs
    else:
        raise ValueError(loss)
    return found


def _chained(backs: Sequence[Back]) -> Back:
    def back(g: Array) -> Array:
        for one in reversed(backs):
            g = one(g)
        return g

    return back


def _added(block: Back, scale: float) -> Back:
    return lambda g: g + block(scale * g)
