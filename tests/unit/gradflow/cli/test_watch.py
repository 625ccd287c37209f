"""`gradflow watch`."""

import signal
import subprocess
import sys
import time

import pytest

from tests.support.answers import EXPERIMENT_ID, diagnosis, experiment, finding, gradients, study
from tests.support.canned_service import CannedService
from tests.support.command_line import gradflow

TIMEOUT_S = 30


def test_a_failed_experiment_shows_its_error_and_exits_with_status_1(service: CannedService) -> None:
    service.answer("GET /v1/experiments/failed", experiment(status="failed", error="[/x] broke"))
    service.answer("GET /v1/experiments/failed/gradients", gradients(steps=0))

    done = gradflow("watch", "failed", url=service.url)

    assert done.returncode == 1
    assert "failed: [/x] broke" in done.stdout
    assert done.stderr == ""


def test_an_ended_experiment_shows_its_gradient_norms_and_its_verdict(service: CannedService) -> None:
    path = f"GET /v1/experiments/{EXPERIMENT_ID}"
    service.answer(path, experiment())
    service.answer(f"{path}/gradients", gradients((0.25,)))
    service.answer(f"{path}/diagnosis", diagnosis(finding(explanation="[/x] is 0")))

    done = gradflow("watch", EXPERIMENT_ID, url=service.url)

    assert (done.returncode, done.stderr) == (0, "")
    assert "2.50e-01" in done.stdout
    assert "verdict: dead units. [/x] is 0" in done.stdout
    assert f"gradflow diagnose {EXPERIMENT_ID}" in done.stdout


@pytest.mark.parametrize(("command", "noun"), [("watch", "experiment"), ("study", "study")])
def test_ctrl_c_does_not_cancel_and_shows_how_to_watch_again(service: CannedService, command: str, noun: str) -> None:
    service.answer(f"GET /v1/experiments/{EXPERIMENT_ID}", experiment(status="running"))
    service.answer(f"GET /v1/studies/{EXPERIMENT_ID}", study("running", queued=3, running=1))
    process = subprocess.Popen(
        [sys.executable, "-m", "gradflow.cli", command, EXPERIMENT_ID, "--url", service.url],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # background jobs of a shell ignore SIGINT
    )
    deadline = time.monotonic() + TIMEOUT_S
    while len(service.requests) < 2 and time.monotonic() < deadline:
        time.sleep(0.05)

    process.send_signal(signal.SIGINT)
    output, errors = process.communicate(timeout=TIMEOUT_S)

    assert process.returncode == 1
    again = f"gradflow {command} {EXPERIMENT_ID} --url {service.url}"
    assert f"the {noun} continues; watch it again with: {again}" in output
    assert errors == ""
    assert not any("cancel" in request.target for request in service.requests)
