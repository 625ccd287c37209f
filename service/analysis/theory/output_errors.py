"""Distribution of the output errors e_a = batch · ∂loss/∂logits_a of a batch that is not known yet."""

from dataclasses import dataclass

import numpy as np

from service.analysis.theory.activations import Array
from service.contract.objective import Objective

POINTS, NODES = 1024, 8  # for one output: batches, and quadrature nodes over the samples of each
DRAWS, SAMPLES = 1024, 64  # for several outputs: batches, and samples of each, both drawn
MAX_VALUES = 400_000  # bounds batches times samples times outputs
SEED = 2017


@dataclass(frozen=True)
class Targets:
    """Mean and variance of the targets of a regression."""

    mean: float = 0.0
    variance: float = 1.0


@dataclass(frozen=True)
class Errors:
    """Errors of equally likely batches, averaged over outputs."""

    own: Array  # [batches], mean of e_a² over samples
    square: Array  # [batches], (Σ e_a)² / batch²


def expected_errors(objective: Objective, logits: Array, targets: Targets, batch: int) -> Errors:
    """Errors for Gaussian logits and for labels or targets that are independent of them.

    Two samples share a part of their logits, which moves the whole batch. Around it samples differ, and labels are
    random. For two classes the number of labels of a class is binomial: it may be exactly half of the batch, and then
    the labels contribute nothing to Σ e.

    Args:
        objective: loss and number of outputs; classes are equally likely.
        logits: [2, 2], covariance over outputs of the logits of any two samples.
        targets: moments of the targets of a regression; not used for classes.
        batch: number of samples.
    """
    from scipy.special import ndtri

    variance = max(float(logits[0, 0]), 0.0)
    together = np.sqrt(min(max(float(logits[0, 1]), 0.0), variance))
    apart = np.sqrt(max(variance - together**2, 0.0))
    outputs = objective.output_units
    if outputs == 1:
        nodes, weights = np.polynomial.hermite_e.hermegauss(NODES)
        u = _lattice(POINTS)
        common, other, labels = ndtri(u[:, :1]), ndtri(u[:, 1:2]), u[:, 2:]
        values = (together * common + apart * nodes)[..., None]
        sample_weights = weights / weights.sum()
    else:
        random = np.random.default_rng(SEED)
        drawn = min(batch, SAMPLES)
        draws = max(16, min(DRAWS, MAX_VALUES // (drawn * outputs)))
        common, labels = random.standard_normal((2, draws, outputs))
        own_part = random.standard_normal((draws, drawn, outputs))
        values = together * common[:, None] + apart * own_part
        sample_weights = np.full(drawn, 1 / drawn)
        other = np.zeros(1)  # the drawn samples already are the batch, or most of it
    mean, square = _given_logits(objective, values, targets)
    m, own = np.einsum("r,drk->dk", sample_weights, mean), np.einsum("r,drk->dk", sample_weights, square)
    mean_square = np.einsum("r,drk->dk", sample_weights, mean**2)
    between, of_labels = np.maximum(mean_square - m**2, 0.0), np.maximum(own - mean_square, 0.0)
    chance = _label_chance(objective, labels, batch) if outputs == 1 else _without_common(objective, labels)
    total = m + (np.sqrt(between) * other + np.sqrt(of_labels) * chance) / np.sqrt(batch)
    squares = (total**2).mean(axis=1)
    if batch == 1:
        return Errors(squares, squares)
    return Errors(own.mean(axis=1), np.minimum(squares, own.mean(axis=1)))  # Cauchy–Schwarz inequality


def _label_chance(objective: Objective, quantiles: Array, batch: int) -> Array:
    """The contribution of random labels to Σ e, scaled to variance 1, at quantiles between 0 and 1."""
    from scipy.special import bdtr, ndtri

    found: Array
    if objective.classes == 2:
        heads = np.searchsorted(bdtr(np.arange(batch), batch, 0.5), quantiles)
        found = (heads - batch / 2) / (np.sqrt(batch) / 2)
    else:
        found = ndtri(quantiles)
    return found


def _without_common(objective: Objective, drawn: Array) -> Array:
    """The contribution of random labels for several outputs, scaled to variance 1; over classes it sums to 0."""
    if objective.classes is None:
        return drawn
    outputs = drawn.shape[1]
    found: Array = (drawn - drawn.mean(axis=1, keepdims=True)) * np.sqrt(outputs / (outputs - 1))
    return found


def _lattice(points: int) -> Array:
    """Quasi-random points [points, 3] in the unit cube (Roberts 2018: powers of the root of x⁴ = x + 1)."""
    root = 1.2207440846057596
    steps = root ** -np.arange(1.0, 4.0)
    return (0.5 + np.arange(1, points + 1)[:, None] * steps) % 1.0


def _given_logits(objective: Objective, logits: Array, targets: Targets) -> tuple[Array, Array]:
    """Mean and mean square over labels of the error of each logit, both [..., outputs]."""
    if objective.classes is None:
        return _for_regression(objective, logits, targets)
    if objective.loss == "categorical_crossentropy":
        p, share = _softmax(logits), 1 / objective.output_units
        return p - share, p**2 - 2 * p * share + share
    errors = [_for_class(objective, logits, label) for label in range(objective.classes)]
    return np.mean(errors, axis=0), np.mean(np.square(errors), axis=0)


def _for_class(objective: Objective, logits: Array, label: int) -> Array:
    """Error of each logit [..., outputs] of a sample with this label."""
    from scipy.special import expit

    if objective.output_units == 1:
        p: Array = expit(logits)
        return p - label if objective.loss == "binary_crossentropy" else _slope(objective.loss, p - label) * p * (1 - p)
    p = _softmax(logits)
    by_output = _slope(objective.loss, p - (np.arange(objective.output_units) == label)) / objective.output_units
    found: Array = p * (by_output - np.sum(p * by_output, axis=-1, keepdims=True))
    return found


def _for_regression(objective: Objective, logits: Array, targets: Targets) -> tuple[Array, Array]:
    """Mean and mean square over Gaussian targets, by Gauss–Hermite quadrature."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(16)
    weights = weights / weights.sum()
    values = targets.mean + np.sqrt(targets.variance) * nodes
    errors = _slope(objective.loss, logits[..., None] - values) / objective.output_units
    return errors @ weights, errors**2 @ weights


def _slope(loss: str, difference: Array) -> Array:
    """Derivative of the loss of one sample with respect to one output, times the number of outputs."""
    match loss:
        case "mse":
            return 2 * difference
        case "mae":
            return np.sign(difference)
        case _:  # Huber loss with delta = 1, the default of Keras
            return np.clip(difference, -1.0, 1.0)


def _softmax(logits: Array) -> Array:
    from scipy.special import softmax

    found: Array = softmax(logits, axis=-1)
    return found
