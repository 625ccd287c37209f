"""Output errors e_a = batch · ∂loss/∂logits_a of a batch, as they are to be expected before there is one."""

from dataclasses import dataclass

import numpy as np

from service.analysis.theory.activations import Array
from service.contract.objective import Objective

POINTS, NODES = 1024, 8  # batches; rows of each, by quadrature: for one output
DRAWS, ROWS = 1024, 64  # the same drawn, for many outputs
MOST_VALUES = 400_000  # draws times rows times outputs
SEED = 2017


@dataclass(frozen=True)
class Targets:
    """Mean and variance of the numbers that a regression is to give."""

    mean: float = 0.0
    variance: float = 1.0


@dataclass(frozen=True)
class Errors:
    """Equally likely batches, averaged over outputs."""

    own: Array  # [batches], mean of e_a²
    square: Array  # [batches], (Σ e_a)² / batch²


def expected_errors(objective: Objective, logits: Array, targets: Targets, batch: int) -> Errors:
    """For logits N(0, K) with K [2, 2] of any two rows, and fair labels or targets around their mean.

    Two rows share a part of their logits, which moves the whole batch; around it rows differ, and labels fall by
    chance. Where the classes are two their count is binomial: it may be even, and Σ e then 0 but for the logits.
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
        rows = weights / weights.sum()
    else:
        random = np.random.default_rng(SEED)
        drawn = min(batch, ROWS)
        draws = max(16, min(DRAWS, MOST_VALUES // (drawn * outputs)))
        common, labels = random.standard_normal((2, draws, outputs))
        own_part = random.standard_normal((draws, drawn, outputs))
        values, rows = together * common[:, None] + apart * own_part, np.full(drawn, 1 / drawn)
        other = np.zeros(1)  # the rows that are drawn are the batch, or nearly
    mean, square = _given_logits(objective, values, targets)
    m, own = np.einsum("r,drk->dk", rows, mean), np.einsum("r,drk->dk", rows, square)
    mean_square = np.einsum("r,drk->dk", rows, mean**2)
    between, of_labels = np.maximum(mean_square - m**2, 0.0), np.maximum(own - mean_square, 0.0)
    chance = _label_chance(objective, labels, batch) if outputs == 1 else _without_common(objective, labels)
    total = m + (np.sqrt(between) * other + np.sqrt(of_labels) * chance) / np.sqrt(batch)
    squares = (total**2).mean(axis=1)
    if batch == 1:
        return Errors(squares, squares)
    return Errors(own.mean(axis=1), np.minimum(squares, own.mean(axis=1)))  # as Cauchy and Schwarz have it


def _label_chance(objective: Objective, places: Array, batch: int) -> Array:
    """The labels' part of Σ e with variance 1, at places between 0 and 1."""
    from scipy.special import bdtr, ndtri

    found: Array
    if objective.classes == 2:
        heads = np.searchsorted(bdtr(np.arange(batch), batch, 0.5), places)
        found = (heads - batch / 2) / (np.sqrt(batch) / 2)
    else:
        found = ndtri(places)
    return found


def _without_common(objective: Objective, drawn: Array) -> Array:
    """The same for many outputs: labels of classes add up to nothing."""
    if objective.classes is None:
        return drawn
    outputs = drawn.shape[1]
    found: Array = (drawn - drawn.mean(axis=1, keepdims=True)) * np.sqrt(outputs / (outputs - 1))
    return found


def _lattice(points: int) -> Array:
    """Evenly spread points [points, 3] in the unit cube (Roberts 2018: powers of the root of x⁴ = x + 1)."""
    root = 1.2207440846057596
    steps = root ** -np.arange(1.0, 4.0)
    return (0.5 + np.arange(1, points + 1)[:, None] * steps) % 1.0


def _given_logits(objective: Objective, logits: Array, targets: Targets) -> tuple[Array, Array]:
    """Mean error and mean squared error of each logit [..., outputs] over labels."""
    if objective.classes is None:
        return _of_numbers(objective, logits, targets)
    if objective.loss == "categorical_crossentropy":
        p, share = _softmax(logits), 1 / objective.output_units
        return p - share, p**2 - 2 * p * share + share
    errors = [_of_class(objective, logits, label) for label in range(objective.classes)]
    return np.mean(errors, axis=0), np.mean(np.square(errors), axis=0)


def _of_class(objective: Objective, logits: Array, label: int) -> Array:
    from scipy.special import expit

    if objective.output_units == 1:
        p: Array = expit(logits)
        return p - label if objective.loss == "binary_crossentropy" else _slope(objective.loss, p - label) * p * (1 - p)
    p = _softmax(logits)
    by_output = _slope(objective.loss, p - (np.arange(objective.output_units) == label)) / objective.output_units
    found: Array = p * (by_output - np.sum(p * by_output, axis=-1, keepdims=True))
    return found


def _of_numbers(objective: Objective, logits: Array, targets: Targets) -> tuple[Array, Array]:
    nodes, weights = np.polynomial.hermite_e.hermegauss(16)
    weights = weights / weights.sum()
    values = targets.mean + np.sqrt(targets.variance) * nodes
    errors = _slope(objective.loss, logits[..., None] - values) / objective.output_units
    return errors @ weights, errors**2 @ weights


def _slope(loss: str, difference: Array) -> Array:
    """Derivative of a row's loss by one output, times the number of outputs."""
    match loss:
        case "mse":
            return 2 * difference
        case "mae":
            return np.sign(difference)
        case _:  # huber, whose delta is 1 as in Keras
            return np.clip(difference, -1.0, 1.0)


def _softmax(logits: Array) -> Array:
    from scipy.special import softmax

    found: Array = softmax(logits, axis=-1)
    return found
