"""The client library repeats a few names, because it may not import the service; they are the service's names."""

from typing import get_args

from gradflow.cli.files import PRESETS
from gradflow.cli.options import PackName, StatusName
from gradflow.client import ENDED
from service.analysis.diagnosis import PACKS
from service.application.study_reading import StudyStatus
from service.contract import model_spec
from service.contract.record import Status


def test_the_rule_packs() -> None:
    assert set(get_args(PackName)) == set(PACKS)


def test_the_presets() -> None:
    assert PRESETS == model_spec.PRESETS


def test_the_statuses_of_experiments_and_studies() -> None:
    assert get_args(StatusName) == tuple(Status)
    assert get_args(StatusName) == tuple(StudyStatus)


def test_the_final_statuses() -> None:
    assert tuple(status for status in Status if status.ended) == ENDED
