"""On which addresses `gradflow up` listens, and how API keys are added meanwhile."""

import subprocess
import sys
from pathlib import Path

import httpx2

from gradflow.client import Client
from tests.support.running_stack import RunningStack

EVERYWHERE = "0.0.0.0"  # noqa: S104 - the address under test


def test_a_stack_listens_for_other_machines_only_after_a_key_was_added(tmp_path: Path) -> None:
    refused = RunningStack(tmp_path, 1, "--host", EVERYWHERE)
    assert "no API key is configured" in refused.refusal()

    stack = RunningStack(tmp_path)
    stack.start()
    try:
        stack.wait_until_answering()
        command = [sys.executable, "-m", "gradflow.cli", "keys", "add", "ada", "--data-dir", str(tmp_path)]
        key = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout.strip()
    finally:
        stack.end()

    opened = RunningStack(tmp_path, 1, "--host", EVERYWHERE)
    opened.start()
    try:
        opened.wait_until_answering()
        assert httpx2.get(f"{opened.url}/v1/experiments").status_code == 401
        with Client(opened.url, key) as ada:
            assert list(ada.list()) == []
    finally:
        _, output, _ = opened.end()
    assert f"gradflow at {opened.url} " in output
