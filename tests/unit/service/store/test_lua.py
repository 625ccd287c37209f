"""Each Lua script declares what it takes and returns, and derives every key from the one table of names."""

import re
from importlib.resources import files

import pytest

from service.store.names import TEMPLATES, Names, parameters_of
from service.store.results import Cancellation, Creation, Deletion, MigrationStep, Upload, Write
from service.store.script_source import Source, source_of

FOLDER = files("service.store") / "lua"
SCRIPTS = sorted(path.name.removesuffix(".lua") for path in FOLDER.iterdir() if path.name.endswith(".lua"))
SHARED = sorted(path.name for path in (FOLDER / "shared").iterdir() if path.name.endswith(".lua"))
CODES = {code.value for kind in (Cancellation, Creation, Deletion, MigrationStep, Upload, Write) for code in kind}


def body_of(name: str) -> str:
    return (FOLDER / f"{name}.lua").read_text("utf-8")


def source(name: str) -> Source:
    return source_of(name, Names())


@pytest.mark.parametrize("name", SCRIPTS)
def test_a_script_returns_the_codes_that_it_declares_and_no_others(name: str) -> None:
    declared = set(source(name).results)
    text = re.sub(r"^--.*$", "", source(name).text, flags=re.MULTILINE)

    assert declared <= CODES | {"DONE"}
    for code in declared:
        assert f"'{code}'" in text
    own = re.sub(r"^--.*$", "", body_of(name), flags=re.MULTILINE)
    returned = set(re.findall(r"return (?:\{)?'([A-Z_]+)'", own))
    assert returned <= declared


@pytest.mark.parametrize("name", SCRIPTS)
def test_a_script_says_what_it_does_in_its_header(name: str) -> None:
    assert re.search(r"^-- [A-Z]", body_of(name), re.MULTILINE)


@pytest.mark.parametrize("name", [*SCRIPTS, *(f"shared/{name.removesuffix('.lua')}" for name in SHARED)])
def test_no_script_contains_the_name_of_a_key(name: str) -> None:
    assert "gradflow" not in body_of(name)
    assert not re.search(r"ARGV\[[0-9]", body_of(name)), "arguments have names"


def test_lua_and_python_derive_the_same_names() -> None:
    names = Names("ours")
    for name in TEMPLATES:
        values = [f"value {i}" for i, _ in enumerate(parameters_of(name))]
        text = names.lua(name)
        for parameter, value in zip(parameters_of(name), values, strict=True):
            text = text.replace(f"' .. {parameter} .. '", value).replace(f"' .. {parameter}", f"{value}'")
        found = re.search(r"'(.*)'", text)
        assert found is not None
        assert found[1] == names(name, *values)


@pytest.mark.parametrize("name", SCRIPTS)
def test_the_clock_of_production_cannot_be_moved(name: str) -> None:
    assert "clock_shift" not in source(name).text
