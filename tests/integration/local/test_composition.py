"""`gradflow up` serves the same application as `gradflow serve`: one composition root."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest

from service.local.data_directory import DataDirectory
from service.store.attempts import Attempts
from service.store.connection import connect
from service.store.experiments import Experiments
from tests.support.claims import claim_run
from tests.support.running_stack import RunningStack

ENVIRONMENT = {"GRADFLOW_REDIS_PASSWORD": "of another server", "GRADFLOW_LEASE_S": "0.5", "GRADFLOW_SWEEP_S": "0.2"}


@pytest.fixture
def running(tmp_path: Path) -> Iterator[RunningStack]:
    """A stack whose API answers; the worker may still import TensorFlow."""
    stack = RunningStack(tmp_path, environment=ENVIRONMENT)
    stack.start()
    try:
        stack.wait_until_answering()
        yield stack
    finally:
        stack.end()


def test_the_password_of_another_server_is_not_sent_to_the_server_of_the_stack(running: RunningStack) -> None:
    assert httpx2.get(f"{running.url}/v1/experiments").status_code == 200

    command = [sys.executable, "-m", "gradflow.cli", "keys", "list", "--data-dir", str(running.data_dir)]
    listed = subprocess.run(
        command, env=os.environ | ENVIRONMENT, capture_output=True, text=True, timeout=60, check=False
    )
    assert listed.returncode == 0, listed.stderr


def test_the_api_of_the_stack_requeues_lost_runs_while_the_worker_is_stopped(running: RunningStack) -> None:
    # given a stack whose worker no longer sweeps
    worker = running.child("worker.app")
    os.kill(worker, signal.SIGSTOP)
    try:
        experiment_id = httpx2.post(f"{running.url}/v1/experiments", json={"model": "baseline"}).json()["id"]
        with connect(DataDirectory(running.data_dir).redis_settings) as client:
            # when a trainer claims the run and is silent from then on
            assert claim_run(Attempts(client, lease_s=0.5), experiment_id, "cpu", "there:1") == 1

            # then the sweeper of the API queues the run again
            store, deadline = Experiments(client), time.monotonic() + 20
            while store.get(experiment_id).status != "queued":
                assert time.monotonic() < deadline
                time.sleep(0.05)
    finally:
        os.kill(worker, signal.SIGCONT)
