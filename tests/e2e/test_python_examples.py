"""Runs the Python examples of the documentation."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.running_stack import RunningStack

ROOT = Path(__file__).parents[2]


def _blocks(page: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", (ROOT / "docs" / page).read_text(), re.MULTILINE | re.DOTALL)


def _printed_by(code: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


GUIDE = _blocks("guide.md", "python")


@pytest.mark.parametrize("number", range(len(GUIDE)))
def test_the_examples_of_the_guide_work_with_a_running_service(stack: RunningStack, number: int) -> None:
    code = GUIDE[number]
    if "import Client" not in code:
        code = f"from gradflow import Client\n{code}"
    assert "Client()" in code

    assert _printed_by(code.replace("Client()", f"Client({stack.url!r})")).strip()


def test_training_without_redis_works_as_the_debugging_page_shows() -> None:
    (code,) = _blocks("debugging.md", "python")
    assert "breakpoint()" in code

    assert "stop at 125" in _printed_by(code.replace("breakpoint()", "print('stop at', chunk.stop)"))


def test_redis_can_be_read_as_the_debugging_page_shows(stack: RunningStack) -> None:
    (script,) = (block for block in _blocks("debugging.md", "sh") if "<<'END'" in block)
    code = script.partition("<<'END'\n")[2].partition("\nEND")[0]
    assert '".gradflow"' in code

    printed = _printed_by(code.replace('".gradflow"', repr(str(stack.data_dir))))

    assert "running, by the end of their lease:" in printed
