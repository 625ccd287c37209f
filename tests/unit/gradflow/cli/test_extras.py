"""Commands without the extra that they need."""

import subprocess
import sys

import pytest

from gradflow.cli.extras import PACKAGES

RUN_WITHOUT = """
import sys
for name in {missing!r}:
    sys.modules[name] = None  # as if it was not installed
from gradflow.cli.app import app
app({arguments!r})
"""


@pytest.mark.parametrize(
    ("command", "extra"),
    [
        ("up", "local"),
        ("demo", "local"),
        ("serve", "server"),
        ("keys list", "server"),
        ("keys add ada", "server"),
        ("keys remove ada", "server"),
    ],
)
def test_a_command_without_its_extra_says_how_to_install_it(command: str, extra: str) -> None:
    program = RUN_WITHOUT.format(missing=PACKAGES[extra], arguments=command.split())

    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)

    assert done.returncode == 1
    assert done.stderr.startswith("gradflow: this command needs celery, fastapi, ")
    assert f"pip install 'gradflow[{extra}]'" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_a_figure_without_matplotlib_says_how_to_install_it() -> None:
    program = RUN_WITHOUT.format(missing=["matplotlib"], arguments=["theory", "baseline", "--png", "a.png"])

    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)

    assert done.returncode == 1
    assert done.stderr == "gradflow: this command needs matplotlib; install with: pip install 'gradflow[local]'\n"


def test_help_and_version_need_no_extra() -> None:
    missing = sorted({*PACKAGES["server"], *PACKAGES["local"], "matplotlib"})
    for option in ("--help", "--version"):
        program = RUN_WITHOUT.format(missing=missing, arguments=[option])
        assert subprocess.run([sys.executable, "-c", program], capture_output=True, check=False).returncode == 0
