"""`gradflow study`."""

import json
from pathlib import Path

from tests.support.answers import EXPERIMENT_ID, study
from tests.support.canned_service import CannedService
from tests.support.command_line import gradflow, unframed

STUDY = {"base": {"model": "baseline"}, "axes": {"training.seed": [0]}}


def test_a_study_is_submitted_and_its_table_is_written_as_csv(service: CannedService, tmp_path: Path) -> None:
    file, csv = tmp_path / "study.json", tmp_path / "table.csv"
    file.write_text(json.dumps(STUDY))
    submitted = {"id": EXPERIMENT_ID, "experiments": 1, "links": {"self": f"/v1/studies/{EXPERIMENT_ID}"}}
    service.answer("POST /v1/studies", submitted, status=202)
    service.answer(f"GET /v1/studies/{EXPERIMENT_ID}", study(succeeded=1))
    service.answer(f"GET /v1/studies/{EXPERIMENT_ID}", "replicates\n1\n", media_type="text/csv")

    done = gradflow("study", str(file), "--csv", str(csv), url=service.url)

    assert (done.returncode, done.stderr) == (0, "")
    assert f"queued 1 experiments {service.url}/v1/studies/{EXPERIMENT_ID}" in done.stdout
    assert "succeeded: 1 succeeded" in done.stdout
    assert csv.read_text() == "replicates\n1\n"


def test_a_study_with_a_failed_experiment_exits_with_status_1(service: CannedService) -> None:
    service.answer(f"GET /v1/studies/{EXPERIMENT_ID}", study("failed", succeeded=1, failed=1))

    done = gradflow("study", EXPERIMENT_ID, url=service.url)

    assert (done.returncode, done.stderr) == (1, "")
    assert "failed: 1 succeeded, 1 failed" in done.stdout


def test_a_csv_file_that_cannot_be_written_is_a_usage_error_before_any_request(
    service: CannedService, tmp_path: Path
) -> None:
    for csv in (tmp_path, tmp_path / "missing" / "table.csv"):
        done = gradflow("study", EXPERIMENT_ID, "--csv", str(csv), url=service.url)

        assert done.returncode == 2
        assert "cannot be written" in unframed(done.stderr)
    assert service.requests == []


def test_a_missing_file_is_a_usage_error(tmp_path: Path) -> None:
    done = gradflow("study", str(tmp_path / "none.json"))

    assert done.returncode == 2
    assert "a study's id" in unframed(done.stderr)
