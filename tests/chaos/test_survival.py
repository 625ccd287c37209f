"""The short form of the chaos suite: one stack, every kind of fault, and no run that shows it."""

from pathlib import Path

from tests.chaos.campaign import Campaign, references
from tests.chaos.faults import Everything

SEED = 20_261_124


def test_whatever_breaks_every_run_ends_with_the_history_that_it_would_have_had(tmp_path: Path) -> None:
    known = references(tmp_path / "undisturbed")

    result = Campaign("everything", tmp_path / "disturbed", known, SEED, short=True).run(len(Everything.KINDS), 600)

    assert result.wrong == []
    assert result.double_claims == 0
    assert result.server_errors == 0
    assert result.count == len(Everything.KINDS)
    assert result.runs >= 3
