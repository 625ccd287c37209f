"""A peer in a process of its own, which takes turns with gradflow; its Python may be another one."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import IO, Any, cast

PROJECT = Path(__file__).parents[2]
PYTHON = "GRADFLOW_PEERS_PYTHON"  # that has JAX and PyTorch; ours if left out


class NotInstalled(Exception):
    """The peer is not there to be measured."""


def version_of(library: str) -> str | None:
    """The version that the peers' Python has of a library."""
    code = f"from importlib.metadata import version; print(version({library!r}))"
    python = os.environ.get(PYTHON, sys.executable)
    found = subprocess.run([python, "-c", code], capture_output=True, text=True, check=False)
    return found.stdout.strip() or None


class Peer:
    """A program of `benchmarks.peers`; use it as a context manager.

    Raises:
        NotInstalled: its library is not there.
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
        self._answer()  # it is ready

    def __enter__(self) -> "Peer":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._process.communicate()  # its requests end, and so does it

    def ask(self, **request: Any) -> dict[str, Any]:
        """The answer to a request."""
        print(json.dumps(request), file=self._requests)
        return self._answer()

    def _answer(self) -> dict[str, Any]:
        line = self._answers.readline()
        if not line:
            raise RuntimeError(f"{self._program} ended with {self._process.wait()}")
        answer: dict[str, Any] = json.loads(line)
        return answer
