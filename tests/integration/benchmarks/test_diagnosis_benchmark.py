"""A few cases of the diagnosis's benchmark from the generator to the page."""

from pathlib import Path

import pytest

from benchmarks.diagnosis import page
from benchmarks.diagnosis.case import Case, Part
from benchmarks.diagnosis.cases import case_of, place_of
from benchmarks.diagnosis.evaluation import evaluate
from benchmarks.diagnosis.judging import Judged, judged_case, read, write
from benchmarks.diagnosis.processes import path_of
from benchmarks.diagnosis.training import train
from service.analysis.diagnosis import PACKS
from worker.training.programs import Programs

FAMILIES = ("dead_bias", "saturation_layer", "rate_large", "shallow", "recurrent")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The trained runs of one case of each of the families."""
    folder, programs = tmp_path_factory.mktemp("runs"), Programs()
    for case in _cases():
        for run in case.runs:
            train(run.plan, programs).save(path_of(folder, run))
    return folder


@pytest.fixture(scope="module")
def judged(folder: Path) -> list[Judged]:
    """What the cases are by outcome, by way of the file."""
    write([judged_case(case, folder) for case in _cases()], folder / "truth.json")
    return read(folder / "truth.json")


def _cases() -> list[Case]:
    return [case_of(Part.DEVELOPMENT, place_of(name), 0) for name in FAMILIES]


def test_faults_and_controls_come_out_as_what_they_are(judged: list[Judged]) -> None:
    found = {case.family: case.truth.symptom for case in judged}

    assert found["dead_bias"] == "dead_units"
    assert found["saturation_layer"] == "saturation"
    assert found["rate_large"] is not None
    assert found["shallow"] == found["recurrent"] == "healthy"
    assert [len(case.layers) for case in judged] == [0, 1, 0, 0, 0]


def test_every_pack_is_scored_and_the_page_says_so(judged: list[Judged], folder: Path) -> None:
    scores = evaluate(judged, folder)

    assert set(scores) == set(PACKS)
    for score in scores.values():
        assert score.all_faults.of == 3
        assert score.false_alarms.of == 2
        assert score.layers.of == 1
    assert scores["gradflow"].all_faults.count == 3
    assert scores["gradflow"].false_alarms.count == 0

    place = "<!-- written by python -m benchmarks.diagnosis: results -->\n{}<!-- to here -->"
    written = page.with_results(
        "By hand.\n" + place.format("an earlier result\n"), page.results(Part.DEVELOPMENT, judged, scores)
    )
    assert written.startswith("By hand.\n<!-- written by")
    assert "an earlier result" not in written
    for pack in PACKS:
        assert f"| {pack} |" in written
    assert "| dead_units | 1 |" in written
