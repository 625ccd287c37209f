"""The short form of the chaos suite: every kind of fault on one stack changes no history."""

from pathlib import Path

from tests.chaos.campaign import Campaign, references
from tests.chaos.faults import Everything

SEED = 20_261_124


def test_after_a_fault_of_each_kind_every_run_has_the_history_of_an_undisturbed_run(tmp_path: Path) -> None:
    known = references(tmp_path / "undisturbed")

    result = Campaign("everything", tmp_path / "disturbed", known, SEED, short=True).run(len(Everything.KINDS), 600)

    assert result.wrong == []
    assert result.double_claims == 0
    assert result.server_errors == 0
    assert result.count == len(Everything.KINDS)
    assert result.runs >= 3
