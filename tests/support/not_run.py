"""Documented commands that could not be run on this machine, listed at the end of the test session."""

import textwrap
from collections.abc import Callable
from pathlib import Path

import pytest

PROPERTY = "not run"
WIDTH = 100  # characters of a command that are shown
TITLE = "documented commands that were not run"

Record = Callable[[str, object], None]  # the fixture `record_property`


def record_not_run(record_property: Record, page: Path, line: int, command: str, reason: str) -> None:
    """Report a command of a page as not run; the test itself goes on with what can be run.

    Args:
        record_property: the fixture of pytest.
        page: the documentation page.
        line: line number of the command in the page.
        command: the command; its beginning is shown.
        reason: why it was not run.
    """
    shown = textwrap.shorten(command.replace("\\\n", " "), WIDTH, placeholder=" …")
    record_property(PROPERTY, (page.name, line, f"{shown} ({reason})"))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print the list; parallel processes send their entries with the reports of their tests."""
    reports = [report for reports in terminalreporter.stats.values() for report in reports]
    entries = {
        tuple(value) for report in reports for name, value in getattr(report, "user_properties", ()) if name == PROPERTY
    }
    if entries:
        terminalreporter.write_sep("=", TITLE)
        for page, line, text in sorted(entries):
            terminalreporter.write_line(f"{page}:{line}: {text}")
