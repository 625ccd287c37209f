"""The OpenAPI document against a real server: what it says is what is answered, whatever is sent."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest
import redis
from hypothesis import settings

from service.contract.datasets import Datasets
from service.contract.store import Store
from tests.served_api import RecordedMessages, served

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
SHORT = 10  # cases an operation and phase, where no longer profile of hypothesis is chosen
SECONDS_A_CASE = 2


@pytest.fixture
def ready(client: redis.Redis, store: Store) -> Iterator[httpx2.Client]:
    """A client of an API that a trainer has announced itself to, though it takes no work."""
    store.announce_trainer("absent", 24 * 3600)
    with served(store, Datasets(client), RecordedMessages()) as http:
        yield http


def cases() -> int:
    """How many an operation: `--hypothesis-profile=fuzz` for many."""
    chosen = settings().max_examples
    return SHORT if chosen == settings.get_profile("default").max_examples else chosen


def test_schemathesis_finds_no_fault_in_any_phase_with_any_check(ready: httpx2.Client, tmp_path: Path) -> None:
    beside = Path(sys.executable).parent
    command = shutil.which("schemathesis", path=os.pathsep.join([str(beside), os.environ["PATH"]]))
    assert command is not None, "schemathesis is not installed"
    told = ["--config-file", str(HERE / "schemathesis.toml")]
    asked = ["--phases", "examples,coverage,fuzzing,stateful", "--checks", "all", "--max-examples", str(cases())]
    shown = ["--continue-on-failure", "--no-color", "--generation-database", "none", "--report-dir", str(tmp_path)]

    done = subprocess.run(
        [command, *told, "run", f"{ready.base_url}/openapi.json", *asked, *shown],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=600 + SECONDS_A_CASE * 20 * cases(),
        check=False,
    )

    print(done.stdout[-2000:])  # noqa: T201 - how many cases there were, with `-s`
    assert done.returncode == 0, done.stdout[-20_000:] + done.stderr[-2000:]
    assert ready.get("/livez").status_code == 200
