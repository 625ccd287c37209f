"""The metrics of an epoch have the same names wherever a class spells them out."""

import pytest

from service.api.routes.history import Metrics
from service.contract.objective import Objective
from service.contract.record import Outcome
from service.contract.training_spec import EPOCH_METRICS


def test_classification_and_regression_together_have_all_metrics() -> None:
    classes = Objective("binary_crossentropy", False, 1, 2).epoch_metrics
    regression = Objective("mse", False, 1, None).epoch_metrics

    assert classes == ("loss", "accuracy", "val_loss", "val_accuracy")
    assert set(classes) | set(regression) == set(EPOCH_METRICS)


@pytest.mark.parametrize(
    ("kind", "others"), [(Outcome, {"diverged_at_step", "stopped_early"}), (Metrics, {"epochs", "steps", "step_loss"})]
)
def test_a_class_with_one_field_per_metric_has_all_of_them(kind: type[Outcome | Metrics], others: set[str]) -> None:
    assert set(kind.model_fields) == set(EPOCH_METRICS) | others
