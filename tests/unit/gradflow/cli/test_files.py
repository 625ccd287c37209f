"""Files that are named on the command line."""

from pathlib import Path

import pytest
import typer

from gradflow.cli.files import is_writable, read_object, read_spec
from tests.support.command_line import gradflow

NOT_A_SPEC = {
    "NaN": b'{"model": NaN}',
    "beyond a float": b'{"model": 1e999}',
    "unpaired surrogate": b'{"name": "\\ud800"}',
    "not UTF-8": b'{"name": "\xff"}',
    "nested too deeply": b"[" * 100_000,
    "a list": b"[]",
    "incomplete": b"{",
}


def test_a_preset_is_its_name_and_a_file_is_its_object(tmp_path: Path) -> None:
    file = tmp_path / "spec.json"
    file.write_text('{"model": "baseline"}')

    assert read_spec("improved") == "improved"
    assert read_spec(str(file)) == {"model": "baseline"}


@pytest.mark.parametrize("content", NOT_A_SPEC.values(), ids=NOT_A_SPEC)
def test_a_file_without_a_json_object_is_a_usage_error(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "spec.json"
    file.write_bytes(content)

    with pytest.raises(typer.BadParameter, match=r"spec\.json"):
        read_spec(str(file))


def test_a_missing_file_is_named_with_what_was_expected(tmp_path: Path) -> None:
    with pytest.raises(typer.BadParameter, match=r"No such file.*; expected a study"):
        read_object(str(tmp_path / "missing.json"), "expected a study")


def test_a_usage_error_has_no_traceback(tmp_path: Path) -> None:
    done = gradflow("run", str(tmp_path / "missing.json"))

    assert done.returncode == 2
    assert "Traceback" not in done.stderr


def test_a_directory_and_a_file_in_a_missing_directory_are_not_writable(tmp_path: Path) -> None:
    assert not is_writable(tmp_path)
    assert not is_writable(tmp_path / "missing" / "a.png")
    assert is_writable(tmp_path / "a.png")
