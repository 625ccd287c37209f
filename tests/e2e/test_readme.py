"""The README's commands, run as they stand."""

import os
import re
import subprocess
import sys
from pathlib import Path

from tests.support.running_stack import RunningStack

ROOT = Path(__file__).parents[2]


def _commands_under(heading: str) -> str:
    section = (ROOT / "README.md").read_text().partition(f"## {heading}\n")[2].partition("\n## ")[0]
    return "\n".join(re.findall(r"```sh\n(.*?)```", section, re.DOTALL))


def _run(heading: str, stack: RunningStack) -> str:
    """What the commands under a heading print, all of them as they stand there."""
    commands = _commands_under(heading)
    environment = os.environ | {"GRADFLOW_URL": stack.url}
    if Path(sys.executable).parent != ROOT / ".venv" / "bin":
        commands = commands.replace(".venv/bin/gradflow", f"{sys.executable} -m gradflow.cli")
        commands = commands.replace(".venv/bin/python", sys.executable)
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", commands],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_commands_of_the_readme_do_what_it_says(stack: RunningStack) -> None:
    printed = _run("Ask it yourself", stack)

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


def test_a_network_and_data_of_ones_own_are_taken_as_the_readme_shows(stack: RunningStack) -> None:
    printed = _run("Your own network, your own data", stack)

    assert "succeeded: loss" in printed
    assert re.search(r'"source":"upload".*"status":"queued"|"status":"queued".*"source":"upload"', printed)


def test_a_study_ends_in_a_table_as_the_readme_shows(stack: RunningStack) -> None:
    printed = _run("Many at once", stack)

    assert "queued 12 experiments" in printed
    assert re.search(r"sigmoid +4 ", printed)
    assert "succeeded: 12 succeeded" in printed


def test_the_two_commands_are_targets_of_the_makefile() -> None:
    targets = re.findall(r"^make (\w+)", _commands_under("Two commands"), re.MULTILINE)

    assert targets == ["demo", "test"]
    for target in targets:
        assert subprocess.run(["make", "--dry-run", target], cwd=ROOT, capture_output=True, check=False).returncode == 0
