"""A submission resolves and serializes each spec once."""

from collections import Counter
from typing import Any

import httpx2
import pytest

from service.contract.spec import ExperimentSpec


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """Counts the calls of the two methods of ExperimentSpec that take time."""
    counts: Counter[str] = Counter()

    def count(name: str) -> None:
        original = getattr(ExperimentSpec, name)

        def counted(self: ExperimentSpec, *args: Any, **options: Any) -> Any:
            counts[name] += 1
            return original(self, *args, **options)

        monkeypatch.setattr(ExperimentSpec, name, counted)

    for name in ("resolved", "model_dump_json"):
        count(name)
    return counts


@pytest.mark.parametrize("headers", [{}, {"Idempotency-Key": "a"}])
def test_an_experiment_is_resolved_and_serialized_once(
    api: httpx2.Client, calls: Counter[str], headers: dict[str, str]
) -> None:
    answer = api.post("/v1/experiments", json={"model": "baseline", "training": {"seed": 7}}, headers=headers)

    assert answer.status_code == 202, answer.text
    assert calls == {"resolved": 1, "model_dump_json": 1}


def test_every_cell_of_a_study_is_resolved_and_serialized_once(api: httpx2.Client, calls: Counter[str]) -> None:
    study = {"base": {"model": {"kind": "baseline"}}, "axes": {"training.seed": [0, 1], "model.depth": [2, 3]}}

    answer = api.post("/v1/studies", json=study)

    assert answer.status_code == 202, answer.text
    assert calls == {"resolved": 4, "model_dump_json": 4}


def test_reading_a_run_serializes_no_spec_for_its_plan(api: httpx2.Client, calls: Counter[str]) -> None:
    experiment_id = api.post("/v1/experiments", json={"model": "baseline"}).json()["id"]
    calls.clear()

    for _ in range(2):
        assert api.get(f"/v1/experiments/{experiment_id}/gradients").status_code == 200

    assert calls == {}
