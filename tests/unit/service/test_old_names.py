"""Module names before 0.2.0 that still work for one version."""

import subprocess
import sys

import pytest

import gradflow


def _run(*arguments: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run([sys.executable, *arguments], capture_output=True, text=True, check=False)


def test_importing_service_client_gives_the_client_and_warns() -> None:
    done = _run(
        "-c", "import service.client, gradflow; print(service.client.GradflowClient is gradflow.GradflowClient)"
    )

    assert done.stdout == "True\n"
    assert "DeprecationWarning: service.client is deprecated: use `from gradflow import Client`" in done.stderr


def test_every_name_that_service_client_defined_can_be_imported() -> None:
    names = (
        "DEFAULT_URL, POLL_EVERY_S, STUDY_POLL_EVERY_S, BUSY_TRIES, COMPUTED_WITHIN_S, READY_WITHIN_S, ENDED, Json, "
        "ApiError, Unreachable, MEDIA_TYPES, GradflowClient"
    )

    done = _run("-c", f"from service.client import {names}; print(ENDED, BUSY_TRIES, COMPUTED_WITHIN_S)")

    assert done.stdout == "('succeeded', 'failed', 'cancelled') 10 120.0\n", done.stderr


def test_importing_service_client_works_where_warnings_are_errors() -> None:
    done = _run("-W", "error", "-c", "from service.client import ApiError, GradflowClient, Unreachable")

    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("options", [[], ["-W", "error"]], ids=["default warnings", "warnings are errors"])
def test_service_cli_is_the_command_line_and_warns(options: list[str]) -> None:
    done = _run(*options, "-m", "service.cli", "--version")

    assert (done.returncode, done.stdout) == (0, f"gradflow {gradflow.__version__}\n")
    assert done.stderr == "`python -m service.cli` is deprecated: use `gradflow` or `python -m gradflow.cli`\n"
