"""A plan, with or without a run's first batch -> the profile to be expected."""

from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from service.analysis.profile import slope_of
from service.analysis.theory.activations import Array
from service.analysis.theory.caveats import caveats
from service.analysis.theory.errors import Errors, expected_errors
from service.analysis.theory.inputs import expected_inputs, kernel_of
from service.analysis.theory.perceptron import MOST_ROWS, Perceptron, perceptron_of
from service.analysis.theory.phase import phase_of
from service.analysis.theory.prediction import LayerPrediction, NoTheory, Phase, Prediction
from service.analysis.theory.row import way_of
from service.analysis.theory.signal import Gradient, Signal
from service.analysis.theory.stages import Found, Logarithm, chain
from service.analysis.theory.theory_input import TheoryInput
from service.contract.plan import Plan

CANCELLED = 1e-13
MOST_DECADES = 10.0  # of spread from width alone
CHANCE = "hardly a unit of a layer is ever active: what passes through it is a matter of chance"
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
        NoTheory: for networks that no `mlp` describes, weights that are not drawn around 0, and where chance decides.
    """
    return prediction_for(TheoryInput.of(plan), rows, errors)


def prediction_for(
    given: TheoryInput, rows: npt.NDArray[np.floating] | None = None, errors: npt.NDArray[np.floating] | None = None
) -> Prediction:
    """The same for the value that theory reads, which may be the key of a cache."""
    network = perceptron_of(given)
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):  # what has become of it is looked at below
        if way_of(network, expected_inputs(given).rows).dead_layer is not None:
            raise NoTheory(CHANCE)
        if rows is None or errors is None:
            found = _a_priori(given, network)
        else:
            found = _conditional(network, np.asarray(rows, np.float64), np.asarray(errors, np.float64))
    layers = tuple(
        LayerPrediction(
            name=v.name,
            layer=v.layer,
            depth=v.depth,
            role=v.role,
            log10_norm=found[v.name].mean / 2 / DECADE,
            spread=_decades(found[v.name].variance),
        )
        for v in given.variables
        if v.role == "kernel" or np.isfinite(found[v.name].mean)
    )
    if not all(np.isfinite(layer.log10_norm) for layer in layers):
        raise NoTheory("the signal or the gradient becomes 0 or infinite on its way")
    kernels = np.array([layer.log10_norm for layer in layers if layer.role == "kernel"])
    conditional = rows is not None and errors is not None
    of_width = max(_decades(found[layer.name].of_width) for layer in layers)
    if of_width > MOST_DECADES:
        raise NoTheory(CHANCE)
    return Prediction(
        form="conditional" if conditional else "a_priori",
        slope=slope_of(kernels),
        level=float(kernels[1:-1].mean()) if len(kernels) > 2 else None,
        layers=layers,
        phase=_phase(network),
        caveats=caveats(given, network, of_width, conditional),
    )


def _decades(variance: float) -> float:
    """Of a norm, from the variance of the natural logarithm of its square."""
    return float(np.sqrt(variance)) / 2 / DECADE


def _phase(network: Perceptron) -> Phase | None:
    if not network.repeats:
        return None
    layer = network.hidden[-1]
    return phase_of(network.activation, layer.gain, layer.bias_mean, layer.bias_variance)


def _a_priori(given: TheoryInput, network: Perceptron) -> Mapping[str, Logarithm]:
    """Any two rows have the same moments, so that two stand for the whole batch; not so where it is normalized."""
    expected = expected_inputs(given)
    batch = given.batch_size
    rows = min(batch, MOST_ROWS) if network.model.normalization == "batch" else 2
    second = np.full((rows, rows), expected.rows.product)
    np.fill_diagonal(second, expected.rows.square)

    def errors(logits: Array) -> Errors:
        return expected_errors(given.objective, logits[:2, :2], expected.targets, batch)

    return _of_alike(network, second, batch, errors)


def _conditional(network: Perceptron, rows: Array, errors: Array) -> Mapping[str, Logarithm]:
    batch = len(rows)
    errors = errors.reshape(batch, -1)
    if batch > MOST_ROWS:
        kept = np.linspace(0, batch - 1, MOST_ROWS).astype(int)
        own, square = np.mean(errors**2, keepdims=True).ravel(), np.mean(errors.mean(axis=0) ** 2, keepdims=True)
        return _of_alike(network, kernel_of(rows[kept]), batch, lambda _: Errors(own, square))
    start = Signal(np.zeros(batch), kernel_of(rows), _shares(batch, batch))
    _, pullback = chain(list(network.stages()), start)
    by_name = {}
    for found in pullback(Gradient(errors @ errors.T / errors.shape[1]))[1]:
        width = found.width()
        by_name[found.name] = width._replace(mean=_log_total(found, start.shares) + width.mean)
    return by_name


def _of_alike(
    network: Perceptron, second: Array, batch: int, errors_of: Callable[[Array], Errors]
) -> Mapping[str, Logarithm]:
    """For rows that stand for all others, whose errors are no more one row's than another's.

    Rows that are normalized together cancel to one part in their number: they are all of a batch of their own, of which
    what comes from one row's error alone is then as much smaller as there are more rows.
    """
    rows = len(second)
    whole = rows if network.model.normalization == "batch" else batch
    start = Signal(np.zeros(rows), second, _shares(rows, whole))
    logits, pullback = chain(list(network.stages()), start)
    errors = errors_of(logits.second)
    own, shared = pullback(Gradient(np.eye(rows)))[1], pullback(Gradient(np.ones_like(second)))[1]
    alone = [replace(found, pairs=found.pairs * (whole / batch)) for found in own]
    return {a.name: _over_errors(a, b, start.shares, batch, errors) for a, b in zip(alone, shared, strict=True)}


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
    """Over the batch; 0 where the rows cancel but for rounding, as those of a bias before batch normalization do."""
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
        return Logarithm(-np.inf, 0.0, 0.0)
    of_ones = (batch * errors.square - errors.own) / (batch - 1) if batch > 1 else 0.0 * errors.own
    squares = errors.own * one + of_ones * (every - one)
    logarithms = np.log(np.maximum(squares, CANCELLED * errors.own * one))
    width = shared.width()
    mean = float(logarithms.mean()) + scale + width.mean
    return Logarithm(mean, float(logarithms.var()) + width.variance, width.of_width)
