"""Runs the commands of the README; where curl is not installed, those that call it are reported as not run."""

import os
import re
import subprocess
import sys
from pathlib import Path

from gradflow.client import Client
from tests.support import curl
from tests.support.not_run import Record, record_not_run
from tests.support.running_stack import RunningStack
from tests.support.shell_statements import statements_under

ROOT = Path(__file__).parents[2]
README = ROOT / "README.md"
TIMEOUT_S = 120


def _run(heading: str, stack: RunningStack, record_property: Record, **variables: str) -> str:
    """The output of the commands under a heading.

    Args:
        heading: heading of a section of the README.
        stack: the service that the commands use.
        record_property: where commands that are not run are recorded.
        variables: environment variables that commands with curl set, for the commands that follow them.
    """
    script = ""
    for statement in statements_under(heading, README):
        if statement.needs_curl and not curl.INSTALLED:
            record_not_run(record_property, README, statement.line, statement.text, curl.MISSING)
        else:
            script += statement.text
    if Path(sys.executable).parent != ROOT / ".venv" / "bin":
        script = script.replace(".venv/bin/gradflow", f"{sys.executable} -m gradflow.cli")
        script = script.replace(".venv/bin/python", sys.executable)
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script],
        cwd=ROOT,
        env=os.environ | {"GRADFLOW_URL": stack.url} | variables,
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_an_experiment_is_submitted_and_read_as_the_readme_shows(stack: RunningStack, record_property: Record) -> None:
    variables = {}
    if not curl.INSTALLED:
        with Client(stack.url) as client:
            experiment = client.wait(client.submit("baseline")["id"])
        variables["EXPERIMENT"] = f"{stack.url}{experiment['links']['self']}"

    printed = _run("Ask it yourself", stack, record_property, **variables)

    if curl.INSTALLED:
        assert "HTTP/1.1 202 Accepted" in printed
        assert re.search(r"^location: /v1/experiments/[0-9a-f]{24}", printed, re.MULTILINE)
        assert '"status":"succeeded"' in printed
        assert '"statistic":"gradient_norm"' in printed
        assert "step,dense_0/kernel\n0," in printed
        assert '"val_accuracy":[' in printed
        assert '"verdict":"' in printed
        assert '"measured_log10_norm":' in printed
    assert "succeeded: loss" in printed
    assert "decades lost between the last and the first hidden layer" in printed


def test_a_network_and_data_of_your_own_are_accepted_as_the_readme_shows(
    stack: RunningStack, record_property: Record
) -> None:
    printed = _run("Your own network, your own data", stack, record_property)

    assert "succeeded: loss" in printed
    if curl.INSTALLED:
        assert re.search(r'"source":"upload".*"status":"queued"|"status":"queued".*"source":"upload"', printed)


def test_a_study_ends_with_a_table_as_the_readme_shows(stack: RunningStack, record_property: Record) -> None:
    printed = _run("Many at once", stack, record_property)

    assert "queued 12 experiments" in printed
    assert re.search(r"sigmoid +4 ", printed)
    assert "succeeded: 12 succeeded" in printed


def test_the_two_commands_are_targets_of_the_makefile() -> None:
    commands = "".join(statement.text for statement in statements_under("Two commands", README))
    targets = re.findall(r"^make (\w+)", commands, re.MULTILINE)

    assert targets == ["demo", "test"]
    for target in targets:
        assert subprocess.run(["make", "--dry-run", target], cwd=ROOT, capture_output=True, check=False).returncode == 0
