"""`gradflow theory`."""

from pathlib import Path

from tests.support.answers import EXPERIMENT_ID, theory, theory_layer
from tests.support.canned_service import CannedService
from tests.support.command_line import gradflow


def test_theory_is_shown_as_a_table_and_drawn_as_a_figure(service: CannedService, tmp_path: Path) -> None:
    figure = tmp_path / "theory.png"
    layer = theory_layer(0, -3.0, 0.5) | {"layer": "[/b]"}
    answer = theory(layer, slope=None, level=None, caveats=["[/x] is inexact"])
    service.answer(f"GET /v1/experiments/{EXPERIMENT_ID}/theory", answer)

    done = gradflow("theory", EXPERIMENT_ID, "--png", str(figure), url=service.url)

    assert (done.returncode, done.stderr) == (0, "")
    assert "[/b]" in done.stdout
    assert "10^-3.00 ± 0.50" in done.stdout
    assert "caveat: [/x] is inexact" in done.stdout
    assert figure.read_bytes().startswith(b"\x89PNG")


def test_a_preset_is_predicted(service: CannedService) -> None:
    service.answer("POST /v1/theory", theory(theory_layer(0, -3.0)))

    done = gradflow("theory", "baseline", url=service.url)

    assert (done.returncode, done.stderr) == (0, "")
    assert service.requests[0].json == {"model": "baseline"}


def test_a_wrong_argument_is_a_usage_error_before_any_request(service: CannedService, tmp_path: Path) -> None:
    directory, missing = str(tmp_path), str(tmp_path / "missing" / "a.png")
    for arguments in (["nix"], [EXPERIMENT_ID, "--png", directory], [EXPERIMENT_ID, "--png", missing]):
        assert gradflow("theory", *arguments, url=service.url).returncode == 2
    assert service.requests == []
