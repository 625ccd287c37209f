"""A plan, with or without a run's first batch -> the profile to be expected."""

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from service.analysis import profile
from service.analysis.theory.activations import Array
from service.analysis.theory.errors import Errors, expected_errors
from service.analysis.theory.inputs import expected_inputs, kernel_of
from service.analysis.theory.perceptron import Perceptron, perceptron_of
from service.analysis.theory.prediction import LayerPrediction, NoTheory, Prediction
from service.analysis.theory.signal import Gradient, Signal
from service.analysis.theory.stages import Found, Logarithm, chain
from service.contract.plan import Plan

MOST_ROWS = 128
CANCELLED = 1e-9
DECADE = float(np.log(10.0))


def predict(
    plan: Plan, rows: npt.NDArray[np.floating] | None = None, errors: npt.NDArray[np.floating] | None = None
) -> Prediction:
    """The gradient norms of every kernel and bias at step 0.

    Args:
        plan: Of a preset or an `mlp`.
        rows: Inputs of a run's first batch [batch, *input_shape], scaled as the network reads them.
        errors: batch · ∂loss/∂logits of the same rows [batch, outputs]. With both the prediction is conditional on
            them; without, rows and labels are what the data set's kind gives on average.

    Raises:
        NoTheory: for networks that no `mlp` describes, and weights that are not drawn around 0.
    """
    network = perceptron_of(plan)
    if rows is None or errors is None:
        found = _a_priori(plan, network)
    else:
        found = _conditional(network, np.asarray(rows, np.float64), np.asarray(errors, np.float64))
    layers = tuple(
        LayerPrediction(
            name=v.name,
            layer=v.layer,
            depth=v.depth,
            role=v.role,
            log10_norm=found[v.name].mean / 2 / DECADE,
            spread=float(np.sqrt(found[v.name].variance)) / 2 / DECADE,
        )
        for v in plan.variables
        if v.role == "kernel" or np.isfinite(found[v.name].mean)
    )
    if not all(np.isfinite(layer.log10_norm) for layer in layers):
        raise NoTheory("the signal or the gradient becomes 0 or infinite on its way")
    kernels = np.array([layer.log10_norm for layer in layers if layer.role == "kernel"])
    hidden = kernels[1:-1]
    slope = float(np.polyfit(np.arange(len(hidden)), hidden, 1)[0]) if len(hidden) > 1 else None
    level = float(hidden.mean()) if len(hidden) else None
    return Prediction("a_priori" if rows is None else "conditional", slope, level, layers, None, ())


def _a_priori(plan: Plan, network: Perceptron) -> Mapping[str, Logarithm]:
    """Any two rows have the same moments, so that two stand for the whole batch; not so where it is normalised."""
    moments, targets, _ = expected_inputs(plan)
    batch = plan.batch_size
    rows = min(batch, MOST_ROWS) if network.model.normalization == "batch" else 2
    second = np.full((rows, rows), moments.product)
    np.fill_diagonal(second, moments.square)
    start = Signal(np.zeros(rows), second, _shares(rows, batch))
    logits, pullback = chain(list(network.stages()), start)
    errors = expected_errors(plan.objective, logits.second[:2, :2], targets, batch)
    own, shared = pullback(Gradient(np.eye(rows)))[1], pullback(Gradient(np.ones((rows, rows))))[1]
    return {a.name: _over_errors(a, b, start.shares, batch, errors) for a, b in zip(own, shared, strict=True)}


def _conditional(network: Perceptron, rows: Array, errors: Array) -> Mapping[str, Logarithm]:
    errors = errors.reshape(len(rows), -1)
    batch = len(rows)
    kept = np.linspace(0, batch - 1, min(batch, MOST_ROWS)).astype(int)
    start = Signal(np.zeros(len(kept)), kernel_of(rows[kept]), _shares(len(kept), batch))
    _, pullback = chain(list(network.stages()), start)
    second = errors[kept] @ errors[kept].T / errors.shape[1]
    by_name = {}
    for found in pullback(Gradient(second))[1]:
        width = found.width()
        by_name[found.name] = Logarithm(_log_total(found, start.shares) + width.mean, width.variance)
    return by_name


def _shares(rows: int, batch: int) -> Array:
    """What part of all pairs of a batch each pair of these rows stands for."""
    if batch == 1:
        return np.eye(rows) / rows
    shares = np.full((rows, rows), (batch - 1) / batch / (rows * (rows - 1)))
    np.fill_diagonal(shares, 1 / batch / rows)
    return shares


def _log_total(found: Found, shares: Array) -> float:
    total = _total(found, shares)
    return float(np.log(total)) + found.log_scale if total > 0 else -np.inf


def _total(found: Found, shares: Array) -> float:
    """Over the batch; 0 where the rows cancel but for rounding, as those of a bias before batch normalisation do."""
    parts = found.pairs * shares
    total = float(parts.sum())
    return total if total > CANCELLED * np.abs(parts).sum() else 0.0


def _over_errors(own: Found, shared: Found, shares: Array, batch: int, errors: Errors) -> Logarithm:
    """Mean and variance over the errors of a batch.

    In the mean over orders of a batch's rows, e eᵀ is a sum of the unit matrix, for which `own` is the gradient, and of
    a matrix of ones, for which `shared` is.
    """
    scale = max(own.log_scale, shared.log_scale)
    one = _total(own, shares) * np.exp(own.log_scale - scale)
    every = _total(shared, shares) * np.exp(shared.log_scale - scale)
    if one == 0.0:
        return Logarithm(-np.inf, 0.0)
    of_ones = (batch * errors.square - errors.own) / (batch - 1) if batch > 1 else 0.0 * errors.own
    squares = errors.own * one + of_ones * (every - one)
    logarithms = np.log(np.maximum(squares, CANCELLED * errors.own * one))
    width = shared.width()
    return Logarithm(float(logarithms.mean()) + scale + width.mean, float(logarithms.var()) + width.variance)
