"""The benchmark writes results between the markers of its page and changes nothing else."""

import pytest

from benchmarks.report.page import PAGE, Part, format_ratio, table, with_part
from benchmarks.report.paired import Ratio
from benchmarks.report.targets import TARGETS, Result

EMPTY = """# Benchmarks

Written by a person.

<!-- written by `make bench`: targets -->
<!-- to here -->

Between.

<!-- written by `make bench`: steps -->
<!-- to here -->

<!-- written by `make bench`: runs -->
<!-- to here -->

The end.
"""


def _rows(page: str) -> dict[str, list[list[str]]]:
    """Cells of the table of targets, without the first, by the number of the target."""
    found: dict[str, list[list[str]]] = {}
    for line in page.partition("targets -->")[2].partition("<!--")[0].splitlines():
        cells = [cell.strip() for cell in line.split("|")[1:-1]]
        if cells and cells[0] in TARGETS:
            found.setdefault(cells[0], []).append(cells[1:])
    return found


def test_the_table_has_a_row_for_every_target_even_if_only_one_part_was_measured() -> None:
    page = with_part(EMPTY, "steps", Part([Result("1", "baseline", Ratio(0.1, 0.09, 0.11))], "details"))

    rows = _rows(page)
    assert list(rows) == list(TARGETS)
    assert rows["1"] == [[TARGETS["1"].what, "baseline", "0.100 (0.090–0.110)", "≤ 0.12", "met"]]
    assert rows["2"] == [[TARGETS["2"].what, "", "not measured", "≤ 1.2", ""]]


def test_a_part_replaces_its_own_results_and_keeps_all_others() -> None:
    first = with_part(EMPTY, "steps", Part([Result("1", "a", Ratio(0.2, 0.2, 0.2)), Result("1", "b", "no")], "steps 1"))
    second = with_part(first, "runs", Part([Result("4", "c", Ratio(0.2, 0.1, 0.3))], "runs 1"))
    third = with_part(second, "steps", Part([Result("1", "d", Ratio(0.1, 0.1, 0.1))], "steps 2"))

    assert [row[1:3] for row in _rows(second)["1"]] == [["a", "0.200"], ["b", "no"]]
    assert [row[1:3] for row in _rows(third)["1"]] == [["d", "0.100"]]
    assert _rows(third)["4"] == _rows(second)["4"]
    assert "steps 2" in third
    assert "steps 1" not in third
    assert "runs 1" in third


def test_text_outside_the_markers_stays() -> None:
    page = EMPTY
    for _ in range(2):  # first between empty markers, then between filled ones
        page = with_part(page, "runs", Part([], "details with a \\1 and a | in them"))

    for text in ("Written by a person.", "Between.", "The end."):
        assert page.count(text) == 1
    assert page.count("details with a \\1 and a | in them") == 1
    assert page.count("<!-- to here -->") == 3


def test_a_page_without_markers_for_a_part_is_refused_with_the_name_of_the_part() -> None:
    with pytest.raises(ValueError, match="study"):
        with_part(EMPTY, "study", Part([], "details"))


def test_a_missed_target_is_marked() -> None:
    results = [Result("1", "", Ratio(0.1201, 0.1, 0.2)), Result("11", "", Ratio(0.49, 0.4, 0.6))]

    rows = _rows(with_part(EMPTY, "steps", Part(results, "")))

    assert [rows[target][0][-1] for target in ("1", "11")] == ["**missed**", "**missed**"]
    assert rows["11"][0][-2] == "≥ 0.5"


def test_quartiles_are_shown_if_they_differ_from_the_median() -> None:
    assert format_ratio(Ratio(0.0644, 0.0561, 0.0694)) == "0.064 (0.056–0.069)"
    assert format_ratio(Ratio(81.28, 81.28, 81.28), " MB") == "81.3 MB"
    assert format_ratio(Ratio(1234.5, 1234.5, 1234.5)) == "1,234"


def test_the_rule_of_a_table_has_as_many_cells_as_its_header() -> None:
    assert table(("a", ""), [("1", "2")]) == "| a |  |\n| --- | --- |\n| 1 | 2 |"


def test_the_page_of_this_repository_has_markers_for_every_part() -> None:
    from benchmarks.__main__ import PARTS

    page = PAGE.read_text()
    for name in PARTS:
        with_part(page, name, Part([], "details"))
