"""A diagnosis in a terminal."""

import io

import pytest
from rich.console import Console

from gradflow.cli.terminal.diagnosis_text import diagnosis_text, verdict_line
from tests.support.answers import Json, diagnosis, finding


def shown(answer: Json, width: int = 120) -> str:
    file = io.StringIO()
    Console(file=file, width=width, markup=False, highlight=False).print(diagnosis_text(answer))
    return file.getvalue()


def test_a_finding_has_its_symptom_layers_steps_confidence_rule_and_remedies() -> None:
    text = shown(diagnosis(finding()))

    assert text.startswith("verdict: dead units (rules: gradflow)\n")
    assert "dead units (critical)  dense_0, dense_[/b], steps 0 to 124; confidence 93%, rule dead" in text
    assert finding()["explanation"] in text
    assert 'try {"model.activation": "relu"}: its slope is 1' in text


@pytest.mark.parametrize(
    ("layers", "steps", "words"),
    [
        ([f"dense_{i}" for i in range(9)], [3, 3], "dense_0 … dense_8 (9 layers), step 3;"),
        ([f"dense_{i}" for i in range(4)], [0, 1], "dense_0, dense_1, dense_2, dense_3, steps 0 to 1;"),
        ([], [0, 1], "(critical)  steps 0 to 1;"),
    ],
)
def test_more_than_four_layers_are_shown_as_first_and_last(layers: list[str], steps: list[int], words: str) -> None:
    assert words in shown(diagnosis(finding(layers=layers, steps=steps)))


def test_rules_that_are_not_evaluated_for_the_same_reason_share_a_line() -> None:
    rules = [("a", "not recorded: x"), ("b", "too short"), ("c", "not recorded: x")]
    not_evaluated = tuple({"rule": r, "symptom": "vanishing", "needs": [], "reason": why} for r, why in rules)

    text = shown(diagnosis(verdict="not_evaluated", not_evaluated=not_evaluated))

    assert "not evaluated: a, c (not recorded: x)\n" in text
    assert "not evaluated: b (too short)\n" in text
    assert text.startswith("verdict: not evaluated")


def test_the_verdict_line_has_the_explanation_of_the_first_finding() -> None:
    assert verdict_line(diagnosis(finding(), finding(explanation="other"))) == (
        f"verdict: dead units. {finding()['explanation']}"
    )
    assert verdict_line(diagnosis(verdict="not_evaluated")) == "verdict: not evaluated"
