"""What is written into the page of the diagnosis, from answers made by hand."""

from pathlib import Path

import pytest

from benchmarks.diagnosis import page, picture
from benchmarks.diagnosis.case import Part
from benchmarks.diagnosis.judging import Judged
from benchmarks.diagnosis.scoring import Answer, Score, Scored
from benchmarks.diagnosis.truth import Truth

PLACE = "<!-- written by python -m benchmarks.diagnosis: results -->\n{}<!-- to here -->"
VANISHING = Judged(
    "vanishing_activation-000", "vanishing_activation", 3_000_000, "a", "b", (), Truth("vanishing", ("vanishing",), ())
)
MISSED = Judged(
    "dead_layer-001", "dead_layer", 3_010_001, "c", "d", ("dense_1",), Truth("dead_units", ("dead_units",), ())
)
HEALTHY = Judged("shallow-002", "shallow", 3_020_002, "e", None, (), Truth("healthy", (), ()))
DROPPED = Judged("shallow-003", "shallow", 3_020_003, "f", None, (), Truth(None, (), (), "overfits"))
NOTHING = Answer("healthy", {})


@pytest.fixture
def scores() -> dict[str, Score]:
    """Of a good pack and of one that always says the same."""
    always = Answer("vanishing", {"vanishing": frozenset({"dense_0"})})
    good = [Scored(VANISHING, always), Scored(MISSED, NOTHING), Scored(HEALTHY, NOTHING)]
    return {"gradflow": Score(good), "always": Score([Scored(case, always) for case in (VANISHING, MISSED, HEALTHY)])}


@pytest.fixture
def text(scores: dict[str, Score]) -> str:
    """All that is written."""
    return page.results(Part.SECOND_HELD_OUT, [VANISHING, MISSED, HEALTHY, DROPPED], scores)


def test_the_parts_the_seeds_and_the_dropped_cases_are_said(text: str) -> None:
    assert "The second held-out part: 2 faults and 1 healthy runs, seeds 3,000,000 to 3,020,003" in text
    assert "the development parts have seeds from 1,000,000 and 4,000,000 on and share no run with it" in text
    assert "Of 4 cases 1 were dropped" in text
    assert "| shallow | shallow perceptrons | 1 | healthy |  | 1 overfits |" in text


def test_the_best_of_a_row_is_bold_and_a_zero_never_is(text: str) -> None:
    assert "| vanishing | 1 | **1.000** | 0.500 |" in text
    assert "| dead_units | 1 | 0.000 | 0.000 |" in text


def test_misses_are_listed_with_seed_truth_and_answer(text: str) -> None:
    misses = text.partition("### Misses")[2]

    assert "| dead_layer-001 | 3,010,001 | dead_units | nothing |" in misses
    assert "vanishing_activation-000" not in misses


def test_truth_is_shown_against_verdict(text: str) -> None:
    rows = ["|  | healthy | vanishing |", "| --- | --- | --- |", "| dead_units | 1 |  |", "| healthy | 1 |  |"]

    assert "\n".join([*rows, "| vanishing |  | 1 |"]) in text


def test_what_is_written_by_hand_stays() -> None:
    written = page.with_results(f"Before.\n{PLACE.format('')}\nAfter.\n", "new \\1")
    again = page.with_results(written, "newer")

    assert again == f"Before.\n{PLACE.format(chr(10) + 'newer' + chr(10) * 2)}\nAfter.\n"


def test_a_page_without_the_place_is_refused() -> None:
    with pytest.raises(ValueError, match="no place"):
        page.with_results("By hand.", "new")


def test_the_same_scores_are_the_same_picture(scores: dict[str, Score], tmp_path: Path) -> None:
    paths = [tmp_path / "first.png", tmp_path / "second.png"]
    for path in paths:
        picture.draw(scores, page.true_symptoms(scores), path)

    first, second = (path.read_bytes() for path in paths)
    assert first.startswith(b"\x89PNG")
    assert first == second
