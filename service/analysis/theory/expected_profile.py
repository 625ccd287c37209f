"""The predicted profile of a plan, from the spec alone or from a run's first batch."""

from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from service.analysis.profile import slope_of
from service.analysis.theory.activations import Array
from service.analysis.theory.caveats import caveats
from service.analysis.theory.data_moments import expected_data, kernel_of
from service.analysis.theory.layer_maps import LogNorm, VariableMoments, chain
from service.analysis.theory.output_errors import Errors, expected_errors
from service.analysis.theory.perceptron import MAX_SAMPLES, Perceptron, perceptron_of
from service.analysis.theory.phase import phase_of
from service.analysis.theory.prediction import LayerPrediction, NoTheory, Phase, Prediction
from service.analysis.theory.signal import Gradient, Signal
from service.analysis.theory.single_input import single_input_recursion
from service.analysis.theory.theory_input import TheoryInput
from service.contract.plan import Plan

CANCELLED = 1e-13  # a sum smaller than this fraction of its terms is rounding error
MAX_WIDTH_SPREAD = 10.0  # decades; with more spread from width alone there is nothing to predict
CHANCE = "hardly any unit of a layer is ever active, so the size of the gradient is a matter of chance"
DECADE = float(np.log(10.0))


def predict(
    plan: Plan, inputs: npt.NDArray[np.floating] | None = None, errors: npt.NDArray[np.floating] | None = None
) -> Prediction:
    """Predict the gradient norm of each variable at step 0.

    Without the first batch the prediction is a priori: an average over the data sets, labels and weights that the spec
    allows. With both `inputs` and `errors` it is conditional on them and averages over weights alone.

    Args:
        plan: plan of a preset or an `mlp`.
        inputs: inputs of the run's first batch [batch, *input_shape], scaled as the network reads them.
        errors: batch · ∂loss/∂logits of the same samples [batch, outputs].

    Returns:
        The prediction; all numbers are finite.

    Raises:
        NoTheory: the network is not an `mlp`, its weights are not drawn independently around 0, the signal or the
            gradient leaves the range of a float64, or chance alone decides the size of the gradient.
    """
    return prediction_for(TheoryInput.of(plan), inputs, errors)


def prediction_for(
    given: TheoryInput, inputs: npt.NDArray[np.floating] | None = None, errors: npt.NDArray[np.floating] | None = None
) -> Prediction:
    """`predict` for the value that the theory reads, which a cache can use as its key.

    Raises:
        NoTheory: as `predict`.
    """
    network = perceptron_of(given)
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):  # results are checked below
        if single_input_recursion(network, expected_data(given).samples).dead_layer is not None:
            raise NoTheory(CHANCE)
        if inputs is None or errors is None:
            found = _a_priori(given, network)
        else:
            found = _conditional(network, np.asarray(inputs, np.float64), np.asarray(errors, np.float64))
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
        raise NoTheory("the signal or the gradient becomes 0 or infinite on its way through the layers")
    kernels = np.array([layer.log10_norm for layer in layers if layer.role == "kernel"])
    conditional = inputs is not None and errors is not None
    width_spread = max(_decades(found[layer.name].width_variance) for layer in layers)
    if width_spread > MAX_WIDTH_SPREAD:
        raise NoTheory(CHANCE)
    return Prediction(
        form="conditional" if conditional else "a_priori",
        slope=slope_of(kernels),
        level=float(kernels[1:-1].mean()) if len(kernels) > 2 else None,
        layers=layers,
        phase=_phase(network),
        caveats=caveats(given, network, width_spread, conditional),
    )


def _decades(variance: float) -> float:
    """Standard deviation of the log10 of a norm, from the variance of the natural logarithm of its square."""
    return float(np.sqrt(variance)) / 2 / DECADE


def _phase(network: Perceptron) -> Phase | None:
    if not network.repeats:
        return None
    layer = network.hidden[-1]
    return phase_of(network.activation, layer.gain, layer.bias_mean, layer.bias_variance)


def _a_priori(given: TheoryInput, network: Perceptron) -> Mapping[str, LogNorm]:
    """Predict from the spec alone.

    Any two samples have the same moments, so two samples represent the whole batch, except under batch normalization.
    """
    expected = expected_data(given)
    batch = given.batch_size
    samples = min(batch, MAX_SAMPLES) if network.model.normalization == "batch" else 2
    second = np.full((samples, samples), expected.samples.product)
    np.fill_diagonal(second, expected.samples.square)

    def errors(logits: Array) -> Errors:
        return expected_errors(given.objective, logits[:2, :2], expected.targets, batch)

    return _exchangeable(network, second, batch, errors)


def _conditional(network: Perceptron, inputs: Array, errors: Array) -> Mapping[str, LogNorm]:
    """Predict from the inputs and errors of a batch; from MAX_SAMPLES of them and mean errors if it is larger."""
    batch = len(inputs)
    errors = errors.reshape(batch, -1)
    if batch > MAX_SAMPLES:
        kept = np.linspace(0, batch - 1, MAX_SAMPLES).astype(int)
        own, square = np.mean(errors**2, keepdims=True).ravel(), np.mean(errors.mean(axis=0) ** 2, keepdims=True)
        return _exchangeable(network, kernel_of(inputs[kept]), batch, lambda _: Errors(own, square))
    start = Signal(np.zeros(batch), kernel_of(inputs), _shares(batch, batch))
    _, pullback = chain(list(network.maps()), start)
    by_name = {}
    for found in pullback(Gradient(errors @ errors.T / errors.shape[1]))[1]:
        width = found.width_effect()
        by_name[found.name] = width._replace(mean=_log_total(found, start.shares) + width.mean)
    return by_name


def _exchangeable(
    network: Perceptron, second: Array, batch: int, errors_of: Callable[[Array], Errors]
) -> Mapping[str, LogNorm]:
    """Predict for samples that represent all others and whose errors are exchangeable.

    Samples that are normalized together nearly cancel: one part in their number remains. So under batch normalization
    the followed samples are treated as a batch of their own, and the contribution of the error of a single sample is
    scaled to the size of the real batch.

    Args:
        network: the network.
        second: [samples, samples], mean products of the inputs.
        batch: number of samples of the real batch.
        errors_of: distribution of the output errors, from the second moments of the logits.
    """
    samples = len(second)
    whole = samples if network.model.normalization == "batch" else batch
    start = Signal(np.zeros(samples), second, _shares(samples, whole))
    logits, pullback = chain(list(network.maps()), start)
    errors = errors_of(logits.second)
    own, shared = pullback(Gradient(np.eye(samples)))[1], pullback(Gradient(np.ones_like(second)))[1]
    alone = [replace(found, pairs=found.pairs * (whole / batch)) for found in own]
    return {a.name: _over_errors(a, b, start.shares, batch, errors) for a, b in zip(alone, shared, strict=True)}


def _shares(samples: int, batch: int) -> Array:
    """Fraction of all pairs of a batch that each pair of these samples represents [samples, samples]."""
    if batch == 1:
        return np.eye(samples) / samples
    shares = np.full((samples, samples), (batch - 1) / batch / (samples * (samples - 1)))
    np.fill_diagonal(shares, 1 / batch / samples)
    return shares


def _log_total(found: VariableMoments, shares: Array) -> float:
    """Natural logarithm of the mean squared norm; −inf if it is 0."""
    total = _total(found, shares)
    return float(np.log(total)) + found.log_scale if total > 0 else -np.inf


def _total(found: VariableMoments, shares: Array) -> float:
    """Mean squared norm of the batch, divided by exp(log_scale).

    0 if the samples cancel up to rounding, as for a bias that batch normalization follows.
    """
    parts = found.pairs * shares
    total = float(parts.sum())
    return total if total > CANCELLED * np.abs(parts).sum() else 0.0


def _over_errors(own: VariableMoments, shared: VariableMoments, shares: Array, batch: int, errors: Errors) -> LogNorm:
    """Mean and variance of the log norm over the possible errors of a batch.

    Averaged over permutations of the samples, e eᵀ is a multiple of the unit matrix plus a multiple of the matrix of
    ones. `own` is the squared gradient for the former, `shared` for the latter.
    """
    scale = max(own.log_scale, shared.log_scale)
    one = _total(own, shares) * np.exp(own.log_scale - scale)
    every = _total(shared, shares) * np.exp(shared.log_scale - scale)
    if one == 0.0:
        return LogNorm(-np.inf, 0.0, 0.0)
    of_ones = (batch * errors.square - errors.own) / (batch - 1) if batch > 1 else 0.0 * errors.own
    squares = errors.own * one + of_ones * (every - one)
    logarithms = np.log(np.maximum(squares, CANCELLED * errors.own * one))
    width = shared.width_effect()
    mean = float(logarithms.mean()) + scale + width.mean
    return LogNorm(mean, float(logarithms.var()) + width.variance, width.width_variance)
