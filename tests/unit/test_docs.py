"""Everything that a user can write or read has a heading, a table row or a list item in the documentation.

The names come from the code, so a new setting, command, statistic or route fails these tests until it is documented.
"""

import importlib
import re
import tomllib
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import typer
from pydantic_settings import BaseSettings

from gradflow.cli.app import app as command_line
from service.analysis.diagnosis import PACKS, Symptom, diagnose
from service.api.composition import app_from_environment
from service.contract.network.keras_layers import LAYERS
from service.contract.recording_spec import Statistic
from service.store.names import TEMPLATES, Names
from tests.support.made_evidence import plain, sound

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
REQUEST_METHODS = ("get", "post", "put", "patch", "delete")
CODE = re.compile(r"`([^`\n]+)`")
ENTRY = re.compile(r"^(#+ |\||- |  \S)")  # a heading, a table row, or a list item with its further lines


@cache
def _entries(page: str) -> tuple[str, ...]:
    return tuple(line for line in (DOCS / page).read_text().splitlines() if ENTRY.match(line))


def _names_in_entries(*pages: str) -> set[str]:
    """Everything that is formatted as code in a heading, a table row or a list item of these pages."""
    return {name for page in pages for line in _entries(page) for name in CODE.findall(line)}


def _rows(page: str) -> Iterator[list[str]]:
    """The cells of each table row of a page."""
    for line in _entries(page):
        if line.startswith("|"):
            yield [cell.strip() for cell in line.strip("|").split(" | ")]


def _require(what: str, names: set[str], documented: set[str]) -> None:
    missing = sorted(names - documented)
    assert not missing, f"undocumented {what}: {', '.join(missing)}"


def _settings() -> dict[str, Any]:
    """Every environment variable that a settings class of the server reads, and its default."""
    for path in sorted(ROOT.glob("service/**/*.py")) + sorted(ROOT.glob("worker/**/*.py")):
        if "(BaseSettings)" in path.read_text():
            importlib.import_module(".".join(path.relative_to(ROOT).with_suffix("").parts))
    found = {}
    for kind in BaseSettings.__subclasses__():
        # service.local only has other defaults for settings of the worker.
        if kind.__module__.split(".")[0] in ("service", "worker") and kind.__module__ != "service.local.settings":
            for name, field in kind.model_fields.items():
                found[f"{kind.model_config['env_prefix']}{name}".upper()] = field.default
    return found


def _shown(default: Any) -> str:
    """A default as docs/settings.md writes it."""
    match default:
        case None | frozenset():
            return "none"
        case bool():
            return str(default).lower()
        case int() | float():
            return f"{default:,.0f}" if default == int(default) else f"{default:g}"
        case _:
            return f"`{default}`"


def _commands() -> dict[str, Any]:
    """Every command, and every group of commands, by its full name."""

    def below(name: str, command: Any) -> Iterator[tuple[str, Any]]:
        yield name, command
        for child, its_command in getattr(command, "commands", {}).items():
            yield from below(f"{name} {child}", its_command)

    return dict(below("gradflow", typer.main.get_command(command_line)))


def _options(command: Any) -> Iterator[Any]:
    return (parameter for parameter in command.params if parameter.param_type_name == "option")


@cache
def _openapi() -> dict[str, Any]:
    return app_from_environment().openapi()


def test_every_setting_is_documented_with_its_default() -> None:
    documented = {row[0].strip("`"): row[1] for row in _rows("settings.md") if row[0].startswith("`GRADFLOW")}
    settings = _settings()

    _require("settings", set(settings), set(documented))
    wrong = {
        name: f"{documented[name]}, in the code {_shown(default)}"
        for name, default in settings.items()
        if documented[name] != _shown(default)
    }
    assert not wrong


def test_every_documented_variable_is_read_somewhere() -> None:
    of_commands = {option.envvar for command in _commands().values() for option in _options(command) if option.envvar}
    of_compose = set(re.findall(r"\$\{(\w+)", (ROOT / "docker-compose.yml").read_text()))
    documented = {row[0].strip("`") for row in _rows("settings.md") if row[0].startswith("`")}

    assert documented == set(_settings()) | of_commands | of_compose


def test_every_command_and_every_option_is_documented() -> None:
    names = _names_in_entries("guide.md")
    options = {name for name in names if name.startswith("--")}
    bare = {" ".join(word for word in name.split() if not word.isupper()) for name in names}

    commands = _commands()

    assert len(commands) > 10
    _require("commands", {name for name, command in commands.items() if not hasattr(command, "commands")}, bare)
    for name, command in commands.items():
        _require(f"options of {name}", {option.opts[0] for option in _options(command)}, options)


def test_every_statistic_is_documented() -> None:
    _require("statistics", {statistic.value for statistic in Statistic}, _names_in_entries("statistics.md"))


def test_every_symptom_is_documented() -> None:
    _require("symptoms", {symptom.value for symptom in Symptom}, _names_in_entries("diagnosis.md", "api.md"))


@pytest.mark.parametrize("pack", PACKS)
def test_every_rule_of_every_pack_is_documented(pack: str) -> None:
    before_step_0 = diagnose(sound(plain(), steps=0), pack)  # no rule can evaluate this run, so the pack lists them all
    rules = {entry.rule for entry in before_step_0.not_evaluated}

    assert len(rules) > 4
    _require(f"rules of {pack}", rules, _names_in_entries("diagnosis.md"))
    assert f"`{pack}`" in (DOCS / "diagnosis.md").read_text()


def test_every_allowed_keras_layer_is_documented() -> None:
    _require("layers", set(LAYERS), _names_in_entries("api.md"))


def test_every_error_code_is_documented() -> None:
    codes = _openapi()["components"]["schemas"]["Fault"]["properties"]["code"]["enum"]

    _require("error codes", set(codes), {row[0][1:-1] for row in _rows("api.md") if CODE.fullmatch(row[0])})


def test_the_page_of_the_api_lists_exactly_the_routes_that_exist() -> None:
    routes = {
        f"{method.upper()} {path}"
        for path, operations in _openapi()["paths"].items()
        for method in operations
        if method in REQUEST_METHODS
    }
    listed = {name.partition("?")[0] for name in _names_in_entries("api.md") if re.match(r"[A-Z]+ /", name)}

    assert listed == routes


def test_every_field_of_a_spec_and_every_parameter_of_a_route_is_documented() -> None:
    document = _openapi()
    named = set(re.findall(r"\w+", " ".join(CODE.findall((DOCS / "api.md").read_text()))))
    parameters = {
        parameter["name"]
        for operations in document["paths"].values()
        for operation in operations.values()
        if isinstance(operation, dict)
        for parameter in operation.get("parameters", [])
        if parameter["in"] == "query"
    }
    schemas = document["components"]["schemas"]
    fields, open_names, seen = set(), ["ExperimentSpec-Input", "StudySpec"], set()
    while open_names:
        name = open_names.pop()
        if name not in seen:
            seen.add(name)
            fields |= schemas[name].get("properties", {}).keys()
            open_names += re.findall(r"#/components/schemas/([\w-]+)", repr(schemas[name]))

    _require("query parameters", parameters, named)
    _require("fields of a spec", fields, named)


def test_every_key_in_redis_is_documented() -> None:
    keys = {f"{Names().prefix}:{template}" for template in TEMPLATES.values()}

    assert {name for name in _names_in_entries("architecture.md") if name.startswith("gradflow:")} == keys


def test_every_target_of_the_makefile_is_documented() -> None:
    targets = re.findall(r"^([\w-]+):.*## ", (ROOT / "Makefile").read_text(), re.MULTILINE)

    _require("make targets", {f"make {target}" for target in targets}, _names_in_entries("../CONTRIBUTING.md"))


def test_every_link_between_pages_leads_somewhere() -> None:
    broken = []
    for page in [*ROOT.glob("*.md"), *DOCS.rglob("*.md")]:
        for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text()):
            path, _, anchor = target.partition("#")
            if path.startswith(("http:", "https:")):
                continue
            file = (page.parent / path).resolve() if path else page
            if not file.exists() or (anchor and file.suffix == ".md" and anchor not in _anchors(file)):
                broken.append(f"{page.relative_to(ROOT)}: {target}")

    assert not broken


@cache
def _anchors(page: Path) -> set[str]:
    """Anchors of the headings, as GitHub derives them, and those that are written out."""
    text = re.sub(r"^```.*?^```$", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)
    headings = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings} | set(
        re.findall(r'<a id="([^"]+)"', text)
    )


def test_every_path_that_a_guide_for_developers_names_exists() -> None:
    gone = []
    for page in ("../CONTRIBUTING.md", "architecture.md", "debugging.md", "how-it-works.md", "../README.md"):
        text = re.sub(r"^```.*?^```$", "", (DOCS / page).read_text(), flags=re.MULTILINE | re.DOTALL)
        for name in CODE.findall(text):
            if re.fullmatch(r"(service|worker|gradflow|tests|benchmarks|docs|requirements)/[\w./-]*", name):
                gone += [] if (ROOT / name).exists() else [f"{page}: {name}"]

    assert not gone


def _rooms() -> set[str]:
    """Directories with modules in the packages."""
    packages = ("gradflow", "service", "worker", "benchmarks")
    return {str(file.parent.relative_to(ROOT)) for name in packages for file in (ROOT / name).rglob("*.py")}


def test_the_map_of_rooms_shows_exactly_the_rooms_that_exist() -> None:
    drawn: set[str] = set()
    above: dict[int, str] = {}  # the room of each depth that the following lines are in
    for line in _map_of_rooms():
        if match := re.match(r"( *)((?:\w+/ *)+)", line):
            depth = len(match[1]) // 2
            parent = f"{above[depth - 1]}/" if depth else ""
            rooms = [parent + name.rstrip("/") for name in match[2].split()]
            above[depth] = rooms[0]
            drawn |= set(rooms)

    assert drawn == _rooms()


def test_the_map_of_rooms_draws_the_layers_that_import_linter_checks() -> None:
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    (layered,) = (contract for contract in contracts if contract["type"] == "layers")
    layers = [set(re.findall(r"\w+", layer)) for layer in layered["layers"]]
    rooms_of_lines = (set(re.findall(r"(\w+)/", line)) for line in _map_of_rooms() if re.match(r"  \w", line))

    assert [rooms for rooms in rooms_of_lines if rooms & set.union(*layers)] == layers


def _map_of_rooms() -> list[str]:
    """The first drawing of docs/architecture.md, line by line."""
    return (DOCS / "architecture.md").read_text().split("```text\n")[1].split("```")[0].splitlines()
