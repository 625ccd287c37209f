"""The outcome of an experiment on one line."""

from typing import Any

import pytest

from gradflow.cli.terminal.outcome_line import outcome_line
from tests.support.answers import NO_OUTCOME, experiment

METRICS = {"loss": 0.5, "accuracy": 0.5, "val_loss": 0.25, "val_accuracy": 0.75}


@pytest.mark.parametrize(
    ("fields", "line"),
    [
        (
            {"outcome": NO_OUTCOME | METRICS},
            "succeeded: loss 0.5000, accuracy 50.0%, validation loss 0.2500, validation accuracy 75.0%",
        ),
        (
            {"outcome": NO_OUTCOME | {"mse": 2.0, "val_mse": 3.0}},
            "succeeded: mean squared error 2.0000, validation mean squared error 3.0000",
        ),
        ({"status": "cancelled"}, "cancelled"),
        (
            {"outcome": NO_OUTCOME | {"diverged_at_step": 7}},
            "succeeded: loss or gradient is not finite from step 7",
        ),
        (
            {"outcome": NO_OUTCOME | {"stopped_early": True}, "progress": {"epoch": 3}},
            "succeeded: stopped early after epoch 3",
        ),
        ({"status": "failed", "error": "oh"}, "failed: oh"),
    ],
    ids=["metrics", "regression", "cancelled", "diverged", "stopped early", "failed"],
)
def test_an_outcome_has_the_parts_that_are_known(fields: dict[str, Any], line: str) -> None:
    assert outcome_line(experiment(**fields)) == line
