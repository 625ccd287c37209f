"""`gradflow run`."""

from tests.support.answers import EXPERIMENT_ID, experiment, gradients
from tests.support.canned_service import CannedService
from tests.support.command_line import gradflow


def test_an_experiment_is_submitted_with_its_warnings_shown_and_then_watched(service: CannedService) -> None:
    queued = experiment(status="queued", warnings=["[/x] vanishes"])
    service.answer("POST /v1/experiments", queued, status=202)
    service.answer(f"GET /v1/experiments/{EXPERIMENT_ID}", queued, experiment())
    service.answer(f"GET /v1/experiments/{EXPERIMENT_ID}/gradients", gradients(steps=0))

    done = gradflow("run", "baseline", url=service.url)

    assert (done.returncode, done.stderr) == (0, "")
    assert f"queued {service.url}/v1/experiments/{EXPERIMENT_ID}" in done.stdout
    assert "warning: [/x] vanishes" in done.stdout
    assert done.stdout.splitlines()[-1] == "succeeded"
