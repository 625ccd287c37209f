"""The shell commands of a documentation page, one statement at a time."""

import re
import subprocess
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Statement:
    """A complete shell statement, which may take several lines."""

    text: str
    line: int  # of its first line in the page, from 1

    @property
    def needs_curl(self) -> bool:
        """Whether it calls curl."""
        return re.search(r"\bcurl ", self.text) is not None


def statements_under(heading: str, page: Path) -> list[Statement]:
    """The statements of all `sh` blocks in the section with this heading of the second level."""
    found: list[Statement] = []
    in_section, in_block, pending, start = False, False, "", 0
    for number, line in enumerate(page.read_text().splitlines(), 1):
        if line.startswith("## ") and not in_block:
            in_section = line == f"## {heading}"
        elif line.startswith("```"):
            in_block = in_section and line == "```sh"
        elif in_block:
            start = start if pending else number
            pending += f"{line}\n"
            if _is_complete(pending):
                found.append(Statement(pending, start))
                pending = ""
    return found


def _is_complete(text: str) -> bool:
    if text.endswith("\\\n"):
        return False
    return subprocess.run(["bash", "-n", "-c", text], capture_output=True, check=False).returncode == 0
