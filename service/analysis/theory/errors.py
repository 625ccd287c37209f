"""Output errors e_a = batch · ∂loss/∂logits_a: of a run, or as they are to be expected before there is one."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from service.analysis.theory.activations import Array
from service.contract.objective import Objective

DRAWS = 4096
MOST_VALUES = 400_000  # draws times outputs
SEED = 2017
PLACES = 256
FEW_PLACES = 16  # for each count of labels
NEGLIGIBLE = 1e-4  # chance of a count


@dataclass(frozen=True)
class Targets:
    """Mean and variance of the numbers that a regression is to give."""

    mean: float = 0.0
    variance: float = 1.0


class Squares(NamedTuple):
    """A distribution of (Σ e)² / batch² by points."""

    values: Array
    weights: Array  # add up to 1


@dataclass(frozen=True)
class ExpectedErrors:
    """Moments of the errors, averaged over outputs."""

    own: float  # E e_a²
    shared: float  # E e_a e_b of two rows
    constant: float  # (E e_a)²
    of_labels: float  # the part of `own` that is the labels' chance
    freedom: int  # independent directions among the outputs
    by_coin: bool  # two fair classes: that part of Σ e is a count, and may be 0

    def squares(self, batch: int) -> Squares:
        """Of (Σ e)² / batch²: χ²; with one degree of freedom, around a constant."""
        from scipy.special import gammaincinv, ndtri

        expected = self.own / batch + self.shared * (1 - 1 / batch)
        if self.by_coin:
            heads = np.arange(batch + 1)
            chances = _binomial(batch)
            counted = 2 * np.sqrt(self.of_labels) * (heads / batch - 0.5)
            rest = np.sqrt(max(expected - self.of_labels / batch, 0.0)) * ndtri(_places(FEW_PLACES))
            usual = chances > NEGLIGIBLE
            values = np.add.outer(counted[usual], rest).ravel() ** 2
            weights = np.repeat(chances[usual], FEW_PLACES) / FEW_PLACES
            return Squares(values, weights / weights.sum())
        if self.freedom == 1:
            constant = min(self.constant, expected)
            values = (np.sqrt(constant) + np.sqrt(expected - constant) * ndtri(_places(PLACES))) ** 2
        else:
            values = expected * gammaincinv(self.freedom / 2, _places(PLACES)) * 2 / self.freedom
        return Squares(values, np.full(PLACES, 1 / PLACES))


def _places(number: int) -> Array:
    """Equally likely ones between 0 and 1."""
    return (np.arange(number) + 0.5) / number


def _binomial(tosses: int) -> Array:
    """Chances of 0 … tosses heads of a fair coin."""
    from scipy.special import gammaln

    heads = np.arange(tosses + 1)
    logarithm = gammaln(tosses + 1) - gammaln(heads + 1) - gammaln(tosses - heads + 1) - tosses * np.log(2)
    found: Array = np.exp(logarithm)
    return found


def expected_errors(objective: Objective, logits: Array, targets: Targets) -> ExpectedErrors:
    """For logits N(0, K) with K [2, 2] of any two rows, fair labels, and targets around their mean.

    Labels are averaged over in closed form, logits over a fixed draw.
    """
    outputs = objective.output_units
    draws = max(64, min(DRAWS, MOST_VALUES // outputs))
    random = np.random.default_rng(SEED)
    first, second = random.standard_normal((2, draws, outputs))
    own, correlation = float(logits[0, 0]), float(np.clip(logits[0, 1] / logits[0, 0], -1, 1)) if logits[0, 0] else 0.0
    a = np.sqrt(own) * first
    b = np.sqrt(own) * (correlation * first + np.sqrt(1 - correlation**2) * second)
    a, b = np.concatenate([a, -a]), np.concatenate([b, -b])
    mean_a, square = _given_logits(objective, a, targets)
    mean_b, _ = _given_logits(objective, b, targets)
    return ExpectedErrors(
        own=float(np.mean(square)),
        shared=float(np.mean(mean_a * mean_b)),
        constant=float(np.mean(np.mean(mean_a, axis=0) ** 2)),
        of_labels=float(np.mean(square - mean_a**2)),
        freedom=outputs - 1 if objective.classes is not None and outputs > 1 else outputs,
        by_coin=objective.classes == 2,
    )


def _given_logits(objective: Objective, logits: Array, targets: Targets) -> tuple[Array, Array]:
    """Mean error and mean squared error of each logit [draws, outputs] over labels."""
    if objective.classes is None:
        return _of_numbers(objective, logits, targets)
    if objective.output_units == 1:
        errors = [_of_class(objective, logits, label) for label in (0, 1)]
        return np.mean(errors, axis=0), np.mean(np.square(errors), axis=0)
    if objective.loss == "categorical_crossentropy":
        p, share = _softmax(logits), 1 / objective.output_units
        return p - share, p**2 - 2 * p * share + share
    errors = [_of_class(objective, logits, label) for label in range(objective.output_units)]
    return np.mean(errors, axis=0), np.mean(np.square(errors), axis=0)


def _of_class(objective: Objective, logits: Array, label: int) -> Array:
    if objective.output_units == 1:
        p = 1 / (1 + np.exp(-logits))
        return p - label if objective.loss == "binary_crossentropy" else _slope(objective.loss, p - label) * p * (1 - p)
    p = _softmax(logits)
    wanted = np.zeros(objective.output_units)
    wanted[label] = 1.0
    by_output = _slope(objective.loss, p - wanted) / objective.output_units
    return p * (by_output - np.sum(p * by_output, axis=1, keepdims=True))


def _of_numbers(objective: Objective, logits: Array, targets: Targets) -> tuple[Array, Array]:
    nodes, weights = np.polynomial.hermite_e.hermegauss(24)
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
        case _:  # huber, whose delta Keras sets to 1
            return np.clip(difference, -1.0, 1.0)


def _softmax(logits: Array) -> Array:
    powers: npt.NDArray[np.float64] = np.exp(logits - logits.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)
