"""`gradflow upload`."""

from pathlib import Path

from tests.support.canned_service import CannedService
from tests.support.command_line import gradflow, unframed

DATASET = {"id": "d", "rows": 40, "columns": 2, "label": "odd", "classes": ["no", "yes"]}


def test_an_uploaded_data_set_is_shown_with_the_data_of_a_spec(service: CannedService, tmp_path: Path) -> None:
    file = tmp_path / "xor.csv"
    file.write_text("a,b,odd\n")
    service.answer("POST /v1/datasets", DATASET, status=201)

    done = gradflow("upload", str(file), "--label", "odd", "--name", "xor", "--task", "auto", url=service.url)

    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.strip() == (
        'd: 40 samples of 2 features, 2 classes in odd; use {"source": "upload", "dataset_id": "d"}'
    )
    assert service.requests[0].query == {"label": ["odd"], "name": ["xor"], "task": ["auto"]}


def test_a_file_that_is_missing_or_of_another_type_is_a_usage_error(service: CannedService, tmp_path: Path) -> None:
    missing = gradflow("upload", str(tmp_path / "missing.csv"), url=service.url)
    unknown = gradflow("upload", str(tmp_path / "data.txt"), url=service.url)

    assert (missing.returncode, unknown.returncode) == (2, 2)
    assert "No such file" in unframed(missing.stderr)
    assert ".parquet" in unframed(unknown.stderr)
    assert service.requests == []
