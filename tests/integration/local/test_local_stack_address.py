"""Where `gradflow up` may listen, and how its keys are reached meanwhile."""

import subprocess
import sys
import time
from pathlib import Path

import httpx2

from gradflow.client import Client
from tests.support.running_stack import RunningStack, free_port

EVERYWHERE = "0.0.0.0"  # noqa: S104 - what is tested


def _up(data_dir: Path, port: int, *options: str) -> "subprocess.Popen[str]":
    command = [sys.executable, "-m", "gradflow.cli", "up", "--data-dir", str(data_dir), "--workers", "1"]
    return subprocess.Popen(
        [*command, "--port", str(port), *options], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )


def _until_it_answers(url: str) -> None:
    deadline = time.monotonic() + 60
    while True:
        try:
            httpx2.get(f"{url}/livez")
            return
        except httpx2.TransportError:
            assert time.monotonic() < deadline
            time.sleep(0.1)


def test_a_stack_opens_to_others_once_it_has_a_key(tmp_path: Path) -> None:
    refused = _up(tmp_path, free_port(), "--host", EVERYWHERE)
    output, _ = refused.communicate(timeout=60)
    assert refused.returncode == 1
    assert "no API key is configured" in output
    assert "Traceback" not in output

    stack = RunningStack(tmp_path, workers=1)
    stack.start()
    try:
        _until_it_answers(stack.url)
        command = [sys.executable, "-m", "gradflow.cli", "keys", "add", "ada", "--data-dir", str(tmp_path)]
        key = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout.strip()
    finally:
        stack.end()

    port = free_port()
    url = f"http://127.0.0.1:{port}"
    opened = _up(tmp_path, port, "--host", EVERYWHERE)
    try:
        _until_it_answers(url)
        assert httpx2.get(f"{url}/v1/experiments").status_code == 401
        with Client(url, key) as ada:
            assert list(ada.list()) == []
    finally:
        opened.terminate()
        output, _ = opened.communicate(timeout=60)
    assert f"gradflow at {url} " in output
