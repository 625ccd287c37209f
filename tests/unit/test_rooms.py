"""The rules of docs/architecture.md turn `lint-imports` red when a copy of the code breaks them."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
COPIED = ("gradflow", "service", "worker")
CONTRACT_TYPE = Path("tests/support/allowed_packages.py")


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    for package in COPIED:
        shutil.copytree(ROOT / package, tmp_path / package, ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / CONTRACT_TYPE).parent.mkdir(parents=True)
    shutil.copy(ROOT / CONTRACT_TYPE, tmp_path / CONTRACT_TYPE)
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    return tmp_path


def _broken_rules(directory: Path) -> set[str]:
    """Numbers of the broken contracts; the exit status agrees with them."""
    done = subprocess.run(
        [Path(sys.executable).with_name("lint-imports"), "--no-cache", "--no-logo"],
        cwd=directory,
        env={name: value for name, value in os.environ.items() if name != "PYTHONPATH"} | {"COLUMNS": "200"},
        capture_output=True,
        text=True,
        check=False,
    )
    rules = re.findall(r"^(\d\w?)\. .* (KEPT|BROKEN)", done.stdout, re.MULTILINE)
    assert len(rules) > 6, done.stdout + done.stderr
    broken = {number for number, result in rules if result == "BROKEN"}
    assert done.returncode == (1 if broken else 0)
    return broken


def test_the_code_as_it_is_breaks_no_rule(copy: Path) -> None:
    assert _broken_rules(copy) == set()


@pytest.mark.parametrize(
    ("file", "line", "broken"),
    [
        ("worker/app.py", "from service.api.settings import ApiSettings", {"2a"}),
        ("service/analysis/profile.py", "import redis", {"5a", "5c"}),
        ("service/contract/record.py", "import attrs", {"5b"}),
        ("gradflow/client.py", "import fastapi", {"6b"}),
        ("gradflow/cli/list.py", "import orjson", {"6b"}),
        ("gradflow/cli/list.py", "import service.application.submission", {"6a"}),
        ("service/application/submission.py", "import tensorflow", {"3"}),
        ("service/application/submission.py", "import gradflow.client", {"1b"}),
        ("service/local/stack.py", "from worker import settings", {"2b"}),
        ("service/store/listing.py", "import service.application.submission", {"1a"}),
        ("worker/training/engine.py", "import service.store.settings", {"4"}),
    ],
)
def test_an_import_that_a_rule_forbids_is_found(copy: Path, file: str, line: str, broken: set[str]) -> None:
    module = copy / file
    module.write_text(f"{module.read_text()}\n{line}\n")

    assert _broken_rules(copy) == broken


def test_an_import_inside_a_function_is_found_too(copy: Path) -> None:
    module = copy / "worker" / "app.py"
    module.write_text(f"{module.read_text()}\n\ndef _lazily() -> None:\n    import service.uploads\n")

    assert _broken_rules(copy) == {"2a"}


@pytest.mark.parametrize("name", ["loose.py", "attic/__init__.py"], ids=["a loose module", "a new room"])
def test_a_part_of_the_service_without_a_place_is_found(copy: Path, name: str) -> None:
    (copy / "service" / name).parent.mkdir(exist_ok=True)
    (copy / "service" / name).touch()

    assert _broken_rules(copy) == {"1a"}


@pytest.mark.parametrize(
    ("name", "line", "broken"),
    [
        ("keras.py", "import keras", set()),
        ("torch.py", "import torch", set()),
        ("jax.py", "import jax", {"6b"}),
        ("recorder.py", "import keras", {"3", "6b"}),
    ],
)
def test_only_the_recorders_of_gradflow_may_import_a_deep_learning_framework(
    copy: Path, name: str, line: str, broken: set[str]
) -> None:
    (copy / "gradflow" / name).write_text(f"{line}\n")

    assert _broken_rules(copy) == broken
