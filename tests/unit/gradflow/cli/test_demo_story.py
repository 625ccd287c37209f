"""The sentences of the demo, from measured values."""

from typing import Any

import pytest

from gradflow.cli.demo_story import story
from tests.support.answers import experiment, gradients

NAMES = [f"{model}, {data}" for model in ("baseline", "improved") for data in ("random labels", "breast cancer")]
VANISHING = ((1e-6,), (1e-4,), (1e-2,), (1.0,))
CONSTANT = ((1.0,), (1.0,), (1.0,), (1.0,))


def _experiment(kind: str, val_accuracy: float | None) -> dict[str, Any]:
    spec = {
        "model": {"kind": kind},
        "data": {"samples": 1000},
        "training": {"validation_split": 0.2},
    }
    return experiment(spec=spec, outcome={"val_accuracy": val_accuracy})


def _story(accuracies: dict[str, float | None], norms: dict[str, Any]) -> list[str]:
    experiments = {name: _experiment(name.partition(",")[0], accuracies.get(name, 0.5)) for name in NAMES}
    return list(story(experiments, {name: gradients(*norms.get(name, CONSTANT)) for name in NAMES}))


@pytest.mark.parametrize(
    ("norms", "words"),
    [
        (VANISHING, "4.0 decades lost, 2.00 per layer. The gradient vanishes"),
        (((0.1,), (0.3,), (0.7,), (1.0,)), "shrinks towards the input by 0.8 decades"),
        (((100.0,), (10.0,), (1.0,), (1.0,)), "grows towards the input, 100.0 times"),
        (((None,), (1.0,), (1.0,), (1.0,)), "the decades lost are unknown"),
    ],
    ids=["vanishing", "shrinking", "growing", "not finite"],
)
def test_the_change_of_the_gradient_is_explained(norms: Any, words: str) -> None:
    assert words in _story({}, {"baseline, random labels": norms})[0]


def test_batch_normalization_is_the_reason_why_the_improved_gradient_grows() -> None:
    baseline, improved, *_ = _story({}, {})

    assert "batch normalization" in improved
    assert "batch normalization" not in baseline


@pytest.mark.parametrize(("accuracy", "words"), [(0.45, "is what coin tosses give"), (0.9, "coin tosses rarely give")])
def test_accuracy_on_random_labels_is_compared_with_coin_tosses(accuracy: float, words: str) -> None:
    assert words in _story({"improved, random labels": accuracy}, {})[2]


def test_accuracy_on_real_data_is_compared_with_the_larger_class() -> None:
    lost = _story({"baseline, breast cancer": 0.63, "improved, breast cancer": 0.97}, {})[3]
    equal = _story({"baseline, breast cancer": 0.96, "improved, breast cancer": None}, {})[3]

    assert "63% for the baseline and 97% for the improved network" in lost
    assert "always answering “benign” (63%). This is the price of the lost decades." in lost
    assert "not measured" in equal
    assert "benign" not in equal
    assert "cost little" in equal
