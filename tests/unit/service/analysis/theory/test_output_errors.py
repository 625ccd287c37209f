"""The expected errors of an unknown batch, compared with batches that are drawn."""

import numpy as np
import pytest

from service.analysis.theory.output_errors import Targets, expected_errors
from service.contract.objective import Objective

BATCH = 32


def _drawn(objective: Objective, own: float, shared: float, batches: int = 4000) -> tuple[float, float, float]:
    """Means of e² and (Σ e)² / batch², and the mean log10 of the latter plus a hundredth of the former."""
    random = np.random.default_rng(5)
    outputs = objective.output_units
    common = random.standard_normal((batches, 1, outputs)) * np.sqrt(shared)
    logits = common + random.standard_normal((batches, BATCH, outputs)) * np.sqrt(own - shared)
    if objective.classes is None:
        targets = 2.0 + 0.5 * random.standard_normal(logits.shape)
        difference = logits - targets
        errors = {"mse": 2 * difference, "mae": np.sign(difference), "huber": np.clip(difference, -1, 1)}[
            objective.loss
        ] / outputs
    elif outputs == 1:
        errors = 1 / (1 + np.exp(-logits)) - random.integers(0, 2, logits.shape)
    else:
        powers = np.exp(logits)
        labels = random.integers(0, outputs, (batches, BATCH))
        errors = powers / powers.sum(axis=-1, keepdims=True) - np.eye(outputs)[labels]
    squares, sums = (errors**2).mean(axis=(1, 2)), (errors.mean(axis=1) ** 2).mean(axis=1)
    return float(squares.mean()), float(sums.mean()), float(np.log10(sums + squares / 100).mean())


@pytest.mark.parametrize(("own", "shared"), [(0.01, 0.0), (0.3, 0.29), (4.0, 3.0), (4.0, 0.0), (200.0, 199.0)])
@pytest.mark.parametrize(
    "objective",
    [
        Objective("binary_crossentropy", False, 1, 2),
        Objective("categorical_crossentropy", False, 2, 2),
        Objective("categorical_crossentropy", False, 10, 10),
        Objective("mse", False, 1, None),
        Objective("mse", False, 3, None),
        Objective("mae", False, 1, None),
        Objective("huber", False, 1, None),
    ],
    ids=lambda objective: f"{objective.loss} {objective.output_units}",
)
def test_moments_equal_those_of_drawn_batches(objective: Objective, own: float, shared: float) -> None:
    squares, sums, logarithm = _drawn(objective, own, shared)

    found = expected_errors(objective, np.array([[own, shared], [shared, own]]), Targets(2.0, 0.25), BATCH)

    assert found.own.mean() == pytest.approx(squares, rel=0.1)
    assert found.square.mean() == pytest.approx(sums, rel=0.15)
    assert np.log10(found.square + found.own / 100).mean() == pytest.approx(logarithm, abs=0.05)


def test_the_errors_of_two_equally_likely_classes_may_cancel() -> None:
    objective = Objective("binary_crossentropy", False, 1, 2)

    found = expected_errors(objective, np.zeros((2, 2)), Targets(), BATCH)

    assert np.mean(found.square == 0) == pytest.approx(0.13995, abs=1e-3)  # binomial(32, 16) / 2³²


def test_a_batch_of_one_sample_has_one_error() -> None:
    objective = Objective("binary_crossentropy", False, 1, 2)

    found = expected_errors(objective, np.full((2, 2), 0.5), Targets(), 1)

    np.testing.assert_array_equal(found.square, found.own)
    assert found.own.mean() == pytest.approx(0.25 + 0.0258, abs=3e-3)  # E p² − p + ½, p the sigmoid of N(0, ½)
