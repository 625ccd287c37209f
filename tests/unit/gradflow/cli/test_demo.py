"""`gradflow demo` where it does not train; tests/e2e/test_demo.py runs all of it."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

from tests.support.canned_service import CannedService
from tests.support.command_line import gradflow
from tests.support.running_stack import alive, free_port

START_TIMEOUT_S = 60


def test_a_figure_that_cannot_be_written_is_refused_before_anything_starts(
    service: CannedService, tmp_path: Path
) -> None:
    port = str(service.server_port)
    for output in (tmp_path, tmp_path / "missing" / "demo.png"):
        done = gradflow("demo", "--port", port, "--output", str(output), "--data-dir", str(tmp_path / "data"))

        assert done.returncode == 1
        assert done.stderr.startswith("gradflow: ")
        assert "cannot be written" in done.stderr
        assert not (tmp_path / "data").exists()


def test_another_port_is_chosen_where_a_different_program_listens(service: CannedService, tmp_path: Path) -> None:
    service.answer("GET /readyz", {"status": "ready"})
    port = str(service.server_port)
    file = tmp_path / "data"
    file.touch()  # not a directory: the stack ends at once, and the demo with it

    done = gradflow("demo", "--port", port, "--output", str(tmp_path / "d.png"), "--data-dir", str(file))

    assert f"port {port} is taken by another program; choosing a free one" in done.stdout
    assert done.returncode == 1
    assert done.stderr.startswith("gradflow: gradflow does not start")


def test_a_terminated_demo_stops_its_stack(tmp_path: Path) -> None:
    lock = tmp_path / "data" / "lock"
    command = [sys.executable, "-m", "gradflow.cli", "demo", "--port", str(free_port()), "--data-dir", str(lock.parent)]
    command += ["--output", str(tmp_path / "demo.png")]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    deadline = time.monotonic() + START_TIMEOUT_S
    while not (lock.exists() and lock.read_text()) and time.monotonic() < deadline:
        time.sleep(0.05)
    stack = json.loads(lock.read_text())["pid"]

    process.terminate()
    process.communicate(timeout=START_TIMEOUT_S)

    assert process.returncode == 128 + signal.SIGTERM
    assert not alive(stack)
