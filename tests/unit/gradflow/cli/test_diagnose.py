"""`gradflow diagnose`."""

from tests.support.answers import EXPERIMENT_ID, diagnosis, finding
from tests.support.canned_service import CannedService
from tests.support.command_line import gradflow


def test_layers_and_explanations_that_look_like_markup_are_shown_as_they_are(service: CannedService) -> None:
    dead = finding(severity="warning", layers=["[/b]"], steps=[0, 4], explanation="[/x] is 0")
    service.answer(f"GET /v1/experiments/{EXPERIMENT_ID}/diagnosis", diagnosis(dead))

    done = gradflow("diagnose", EXPERIMENT_ID, "--rules", "sagemaker", url=service.url)

    assert (done.returncode, done.stderr) == (0, "")
    assert "dead units (warning)  [/b], steps 0 to 4" in done.stdout
    assert "[/x] is 0" in done.stdout
    assert service.requests[0].query == {"rules": ["sagemaker"]}


def test_an_unknown_rule_pack_is_a_usage_error_before_any_request(service: CannedService) -> None:
    assert gradflow("diagnose", EXPERIMENT_ID, "--rules", "mine", url=service.url).returncode == 2
    assert service.requests == []
