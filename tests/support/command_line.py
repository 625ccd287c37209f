"""The command `gradflow` as a process of its own."""

import os
import subprocess
import sys

CLOSED_URL = "http://127.0.0.1:1"  # nothing listens there


def gradflow(
    *arguments: str, url: str = CLOSED_URL, timeout_s: float = 120, columns: int = 120
) -> "subprocess.CompletedProcess[str]":
    """Run a command to its end.

    Args:
        arguments: the command and its arguments.
        url: address of the service.
        timeout_s: time limit in seconds.
        columns: width of the terminal in characters.
    """
    return subprocess.run(
        [sys.executable, "-m", "gradflow.cli", *arguments],
        env=os.environ | {"GRADFLOW_URL": url, "COLUMNS": str(columns)},
        capture_output=True,
        text=True,
        timeout=timeout_s,
        check=False,
    )


def unframed(usage_error: str) -> str:
    """The text of a usage error on one line, without the frame that Typer draws around it."""
    return " ".join(usage_error.replace("│", " ").split())
