"""A peer in a separate process, which takes turns with gradflow and may use another Python environment."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import IO, Any, cast

PROJECT = Path(__file__).parents[2]
PYTHON = "GRADFLOW_PEERS_PYTHON"  # path of a Python that has JAX and PyTorch; default: this one


class NotInstalled(Exception):
    """The library of a peer is not installed, so the peer cannot be measured."""


def version_of(library: str) -> str | None:
    """The version of a library in the Python environment of the peers; None if it is not installed."""
    code = f"from importlib.metadata import version; print(version({library!r}))"
    python = os.environ.get(PYTHON, sys.executable)
    found = subprocess.run([python, "-c", code], capture_output=True, text=True, check=False)
    return found.stdout.strip() or None


class Peer:
    """A running program of `benchmarks.peers`; use it as a context manager.

    Raises:
        NotInstalled: The library that it needs is not installed.
    """

    def __init__(
        self, program: str, *arguments: str, needs: str | None = None, environment: Mapping[str, str] | None = None
    ) -> None:
        python = os.environ.get(PYTHON, sys.executable) if needs else sys.executable
        if needs and version_of(needs) is None:
            raise NotInstalled(f"{needs} is not installed")
        self._program = program
        self._process = subprocess.Popen(
            [python, "-m", f"benchmarks.peers.{program}", *arguments],
            cwd=PROJECT,
            env={"TF_CPP_MIN_LOG_LEVEL": "3", **os.environ, **(environment or {})},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            bufsize=1,
        )
        self._requests = cast("IO[str]", self._process.stdin)
        self._answers = cast("IO[str]", self._process.stdout)
        self._answer()  # the first answer says that the program is ready

    def __enter__(self) -> "Peer":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._process.communicate()  # closes its input, which ends it

    def ask(self, **request: Any) -> dict[str, Any]:
        """Send a request and return the answer."""
        print(json.dumps(request), file=self._requests)
        return self._answer()

    def _answer(self) -> dict[str, Any]:
        line = self._answers.readline()
        if not line:
            raise RuntimeError(f"{self._program} ended with {self._process.wait()}")
        answer: dict[str, Any] = json.loads(line)
        return answer
