"""What importing the client library loads, and from where."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import gradflow
from gradflow import Client, GradflowClient

ROOT = Path(gradflow.__file__).parent
SERVER_PACKAGES = {"celery", "fastapi", "keras", "redis", "service", "tensorflow", "uvicorn", "worker"}
HEAVY_PACKAGES = {"matplotlib", "numpy"}


def _loaded_by(program: str, *options: str) -> set[str]:
    program = f"import sys; {program}; print(*sorted({{name.partition('.')[0] for name in sys.modules}}))"
    command = [sys.executable, *options, "-c", program]
    return set(subprocess.run(command, capture_output=True, text=True, check=True).stdout.split())


def test_the_library_loads_neither_the_server_nor_numpy() -> None:
    loaded = _loaded_by("import gradflow; gradflow.Client")

    assert "httpx2" in loaded
    assert not (SERVER_PACKAGES | HEAVY_PACKAGES | {"pydantic", "rich", "typer"}) & loaded


def test_the_command_line_loads_neither_the_server_nor_numpy() -> None:
    loaded = _loaded_by("import gradflow.cli.app")

    assert "typer" in loaded
    assert not (SERVER_PACKAGES | HEAVY_PACKAGES) & loaded


@pytest.mark.parametrize("file", sorted(ROOT.rglob("*.py")), ids=lambda file: str(file.relative_to(ROOT)))
def test_no_module_imports_the_server_at_its_top_level(file: Path) -> None:
    tree = ast.parse(file.read_text())
    imported = {
        name.partition(".")[0]
        for statement in tree.body
        if isinstance(statement, ast.Import | ast.ImportFrom)
        for name in (
            [alias.name for alias in statement.names] if isinstance(statement, ast.Import) else [statement.module or ""]
        )
    }

    assert not imported & {"service", "worker"}


def test_the_old_name_of_the_client_is_a_client() -> None:
    assert issubclass(GradflowClient, Client)
