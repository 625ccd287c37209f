"""A diagnosis as people see it in a terminal."""

import io
from typing import Any

import pytest
from rich.console import Console

from gradflow.cli.diagnosis import diagnosis_text, verdict_line

Json = dict[str, Any]
REMEDY = {"change": {"model.activation": "relu"}, "reason": "its slope is 1"}
FINDING: Json = {
    "symptom": "dead_units",
    "severity": "critical",
    "layers": ["dense_0", "dense_[/b]"],
    "steps": [0, 124],
    "rule": "dead",
    "observed": 0.7,
    "threshold": 0.5,
    "confidence": 0.93,
    "explanation": "70% of the units of dense_0 are 0 [for all] rows.",
    "remedies": [REMEDY],
}


def diagnosis(*findings: Json, verdict: str = "dead_units", not_evaluated: tuple[Json, ...] = ()) -> Json:
    return {
        "verdict": verdict,
        "rules": "gradflow",
        "findings": list(findings),
        "not_evaluated": list(not_evaluated),
    }


def shown(answer: Json, width: int = 120) -> str:
    file = io.StringIO()
    Console(file=file, width=width, markup=False, highlight=False).print(diagnosis_text(answer))
    return file.getvalue()


def test_a_finding_says_what_where_when_how_surely_and_what_to_try() -> None:
    text = shown(diagnosis(FINDING))

    assert text.startswith("verdict: dead units (rules: gradflow)\n")
    assert "dead units (critical)  dense_0, dense_[/b], steps 0 to 124; 93% sure, rule dead" in text
    assert FINDING["explanation"] in text
    assert 'try {"model.activation": "relu"}: its slope is 1' in text


@pytest.mark.parametrize(
    ("layers", "steps", "words"),
    [
        ([f"dense_{i}" for i in range(9)], [3, 3], "dense_0 … dense_8 (9 layers), step 3;"),
        ([f"dense_{i}" for i in range(4)], [0, 1], "dense_0, dense_1, dense_2, dense_3, steps 0 to 1;"),
        ([], [0, 1], "(critical)  steps 0 to 1;"),
    ],
)
def test_many_layers_are_named_by_the_first_and_the_last(layers: list[str], steps: list[int], words: str) -> None:
    assert words in shown(diagnosis(FINDING | {"layers": layers, "steps": steps}))


def test_rules_that_lack_the_same_are_one_line() -> None:
    rules = [("a", "not recorded: x"), ("b", "too short"), ("c", "not recorded: x")]
    unjudged = tuple({"rule": r, "symptom": "vanishing", "needs": [], "reason": why} for r, why in rules)

    text = shown(diagnosis(verdict="not_evaluated", not_evaluated=unjudged))

    assert "not judged: a, c (not recorded: x)\n" in text
    assert "not judged: b (too short)\n" in text
    assert text.startswith("verdict: not evaluated")


def test_the_line_at_the_end_of_a_run_is_the_verdict_and_its_reason() -> None:
    assert verdict_line(diagnosis(FINDING)) == f"verdict: dead units. {FINDING['explanation']}"
    assert verdict_line(diagnosis(verdict="not_evaluated")) == "verdict: not evaluated"
