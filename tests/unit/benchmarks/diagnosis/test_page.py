"""The results that are written into docs/diagnosis.md, for artificial answers."""

from pathlib import Path

import pytest

from benchmarks.diagnosis import page, picture
from benchmarks.diagnosis.case import Part
from benchmarks.diagnosis.labeling import LabeledCase
from benchmarks.diagnosis.scoring import Answer, Score, Scored
from benchmarks.diagnosis.truth import Truth

PLACE = "<!-- written by python -m benchmarks.diagnosis: results -->\n{}<!-- to here -->"
VANISHING = LabeledCase(
    "vanishing_activation-000", "vanishing_activation", 3_000_000, "a", "b", (), Truth("vanishing", ("vanishing",), ())
)
MISSED = LabeledCase(
    "dead_layer-001", "dead_layer", 3_010_001, "c", "d", ("dense_1",), Truth("dead_units", ("dead_units",), ())
)
HEALTHY = LabeledCase("shallow-002", "shallow", 3_020_002, "e", None, (), Truth("healthy", (), ()))
DROPPED = LabeledCase("shallow-003", "shallow", 3_020_003, "f", None, (), Truth(None, (), (), "overfits"))
NOTHING = Answer("healthy", {})


@pytest.fixture
def scores() -> dict[str, Score]:
    """Scores of a good pack, and of one that always reports the same symptom."""
    always = Answer("vanishing", {"vanishing": frozenset({"dense_0"})})
    good = [Scored(VANISHING, always), Scored(MISSED, NOTHING), Scored(HEALTHY, NOTHING)]
    return {"gradflow": Score(good), "always": Score([Scored(case, always) for case in (VANISHING, MISSED, HEALTHY)])}


@pytest.fixture
def text(scores: dict[str, Score]) -> str:
    """The text of the results."""
    return page.results(Part.SECOND_HELD_OUT, [VANISHING, MISSED, HEALTHY, DROPPED], scores)


def test_the_text_names_the_part_the_seeds_and_the_dropped_cases(text: str) -> None:
    assert "The second held-out part: 2 faults and 1 healthy runs, seeds 3,000,000 to 3,020,003" in text
    assert "the development parts have seeds from 1,000,000 and 4,000,000 on and share no run with it" in text
    assert "Of 4 cases 1 were dropped" in text
    assert "| shallow | shallow perceptrons | 1 | healthy |  | 1 overfits |" in text


def test_the_best_score_of_a_row_is_bold_unless_it_is_zero(text: str) -> None:
    assert "| vanishing | 1 | **1.000** | 0.500 |" in text
    assert "| dead_units | 1 | 0.000 | 0.000 |" in text


def test_misses_are_listed_with_seed_true_symptom_and_answer(text: str) -> None:
    misses = text.partition("### Misses")[2]

    assert "| dead_layer-001 | 3,010,001 | dead_units | nothing |" in misses
    assert "vanishing_activation-000" not in misses


def test_the_confusion_table_has_a_row_per_true_symptom(text: str) -> None:
    rows = ["|  | healthy | vanishing |", "| --- | --- | --- |", "| dead_units | 1 |  |", "| healthy | 1 |  |"]

    assert "\n".join([*rows, "| vanishing |  | 1 |"]) in text


def test_text_outside_the_markers_stays() -> None:
    written = page.with_results(f"Before.\n{PLACE.format('')}\nAfter.\n", "new \\1")
    again = page.with_results(written, "newer")

    assert again == f"Before.\n{PLACE.format(chr(10) + 'newer' + chr(10) * 2)}\nAfter.\n"


def test_a_page_without_markers_is_refused() -> None:
    with pytest.raises(ValueError, match="no markers"):
        page.with_results("By hand.", "new")


def test_equal_scores_give_the_same_bytes_of_the_figure(scores: dict[str, Score], tmp_path: Path) -> None:
    paths = [tmp_path / "first.png", tmp_path / "second.png"]
    for path in paths:
        picture.draw(scores, page.true_symptoms(scores), path)

    first, second = (path.read_bytes() for path in paths)
    assert first.startswith(b"\x89PNG")
    assert first == second
