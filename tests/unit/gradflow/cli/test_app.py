"""What all commands have in common."""

import re

import pytest

from gradflow import __version__
from gradflow.cli.app import app
from tests.support.canned_service import CannedService
from tests.support.command_line import gradflow

COMMANDS = [command.name or getattr(command.callback, "__name__", "") for command in app.registered_commands]


def test_the_version_is_printed() -> None:
    done = gradflow("--version")

    assert (done.returncode, done.stdout, done.stderr) == (0, f"gradflow {__version__}\n", "")


def test_without_a_command_help_is_shown() -> None:
    done = gradflow()

    assert "Usage:" in done.stdout + done.stderr
    for command in (*COMMANDS, "keys"):
        assert re.search(rf"^│ {command} ", done.stdout + done.stderr, re.MULTILINE)


@pytest.mark.parametrize("command", [*COMMANDS, "keys", "keys add", "keys list", "keys remove"])
def test_every_command_describes_itself_and_each_of_its_options(command: str) -> None:
    done = gradflow(*command.split(), "--help", columns=200)

    assert done.returncode == 0
    assert re.search(r"^ [A-Z][^│]*\. *$", done.stdout, re.MULTILINE), "no description"
    for line in re.findall(r"^│.*│$", done.stdout, re.MULTILINE):
        words = line.strip("│ ").split("  ")[-1]
        assert re.search(r"[A-Z].*[.\]]$", words.strip()), f"no help: {line}"


@pytest.mark.parametrize("arguments", [["list", "--status", "bogus"], ["list", "--limit", "0"], ["up", "--port", "0"]])
def test_an_option_out_of_range_is_a_usage_error(arguments: list[str]) -> None:
    assert gradflow(*arguments).returncode == 2


@pytest.mark.parametrize(
    "arguments", [["watch", "nix"], ["run", "baseline"], ["diagnose", "nix"], ["theory", "baseline"]]
)
def test_a_refusal_is_one_line_in_the_words_of_the_service(service: CannedService, arguments: list[str]) -> None:
    problem = {"title": "Unprocessable Entity", "detail": "body.[/x]: Extra inputs are not permitted"}
    for target in ("POST /v1/experiments", "POST /v1/theory"):
        service.answer(target, problem, status=422)

    done = gradflow(*arguments, url=service.url)

    assert done.returncode == 1
    assert done.stderr.startswith("gradflow: 4")
    assert "[/" in done.stderr
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize("address", ["localhost:8000", "http://[::1", "ftp://127.0.0.1"])
def test_an_invalid_address_is_one_line(address: str) -> None:
    done = gradflow("list", "--url", address)

    assert done.returncode == 1
    assert done.stderr.startswith(f"gradflow: '{address}' is not a valid address")
    assert len(done.stderr.splitlines()) == 1
