"""A few cases of the benchmark of the diagnosis, from the generator to the page."""

from pathlib import Path

import pytest

from benchmarks.diagnosis import page
from benchmarks.diagnosis.case import Case, Part
from benchmarks.diagnosis.cases import case_of, index_of
from benchmarks.diagnosis.evaluation import evaluate
from benchmarks.diagnosis.labeling import LabeledCase, labeled_case, read, write
from benchmarks.diagnosis.processes import path_of
from benchmarks.diagnosis.training import train
from service.analysis.diagnosis import PACKS
from worker.training.programs import Programs

FAMILIES = ("dead_bias", "saturation_layer", "rate_large", "shallow", "recurrent")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the trained runs of one case per family."""
    folder, programs = tmp_path_factory.mktemp("runs"), Programs()
    for case in _cases():
        for run in case.runs:
            train(run.plan, programs).save(path_of(folder, run))
    return folder


@pytest.fixture(scope="module")
def labeled(folder: Path) -> list[LabeledCase]:
    """The cases with their true symptoms, written to a file and read again."""
    write([labeled_case(case, folder) for case in _cases()], folder / "truth.json")
    return read(folder / "truth.json")


def _cases() -> list[Case]:
    return [case_of(Part.DEVELOPMENT, index_of(name), 0) for name in FAMILIES]


def test_the_true_symptoms_of_faults_and_controls_are_the_seeded_ones(labeled: list[LabeledCase]) -> None:
    found = {case.family: case.truth.symptom for case in labeled}

    assert found["dead_bias"] == "dead_units"
    assert found["saturation_layer"] == "saturation"
    assert found["rate_large"] is not None
    assert found["shallow"] == found["recurrent"] == "healthy"
    assert [len(case.layers) for case in labeled] == [0, 1, 0, 0, 0]


def test_every_pack_is_scored_on_the_page(labeled: list[LabeledCase], folder: Path) -> None:
    scores = evaluate(labeled, folder)

    assert set(scores) == set(PACKS)
    for score in scores.values():
        assert score.all_faults.of == 3
        assert score.false_alarms.of == 2
        assert score.layers.of == 1
    assert scores["gradflow"].all_faults.count == 3
    assert scores["gradflow"].false_alarms.count == 0

    place = "<!-- written by python -m benchmarks.diagnosis: results -->\n{}<!-- to here -->"
    written = page.with_results(
        "By hand.\n" + place.format("an earlier result\n"), page.results(Part.DEVELOPMENT, labeled, scores)
    )
    assert written.startswith("By hand.\n<!-- written by")
    assert "an earlier result" not in written
    for pack in PACKS:
        assert f"| {pack} |" in written
    assert "| dead_units | 1 |" in written
