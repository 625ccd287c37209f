"""Statements of a documentation page, and the list of those that were not run."""

import subprocess
import sys
from pathlib import Path

from tests.support.not_run import TITLE
from tests.support.shell_statements import statements_under

ROOT = Path(__file__).parents[2]
PAGE = """# Page

## First

```sh
ID=$(curl -s $URL \\
  | cut -c 1-3)
echo '{"a":
  1}' > spec.json
```

```console
$ curl never
```

```sh
gradflow list  # no curling
```

## Second

```sh
false
```
"""
TEST = """
from pathlib import Path
import pytest
from tests.support.not_run import record_not_run

@pytest.mark.parametrize("line", [17, 3])
def test_page(record_property, line):
    record_not_run(record_property, Path("docs/PAGE.md"), line, f"curl {line}\\n", "no curl")
"""


def test_a_section_is_split_into_complete_statements_with_their_lines(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(PAGE)

    statements = statements_under("First", page)

    assert [(statement.line, statement.text.splitlines()[0]) for statement in statements] == [
        (6, "ID=$(curl -s $URL \\"),
        (8, 'echo \'{"a":'),
        (17, "gradflow list  # no curling"),
    ]
    assert "".join(statement.text for statement in statements_under("Second", page)) == "false\n"
    assert [statement.needs_curl for statement in statements] == [True, False, False]


def _session(directory: Path, *options: str) -> str:
    command = [sys.executable, "-m", "pytest", "-p", "tests.support.not_run", "-p", "no:cacheprovider", *options]
    done = subprocess.run(
        [*command, "--rootdir", str(directory), str(directory)], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_commands_that_were_not_run_are_listed_at_the_end_of_a_session(tmp_path: Path) -> None:
    (tmp_path / "test_page.py").write_text(TEST)

    for options in ([], ["--numprocesses", "2"]):
        _, title, listed = _session(tmp_path, *options).partition(TITLE)
        assert title
        assert listed.splitlines()[1:3] == ["PAGE.md:3: curl 3 (no curl)", "PAGE.md:17: curl 17 (no curl)"]


def test_a_session_in_which_every_command_was_run_lists_nothing(tmp_path: Path) -> None:
    (tmp_path / "test_page.py").write_text("def test_page() -> None: ...\n")

    assert TITLE not in _session(tmp_path)
