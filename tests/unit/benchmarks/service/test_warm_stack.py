"""The time measurement over HTTP, with artificial answers."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

from benchmarks.service.study import CELLS, RUNS, STUDY_OF_320, time_of_study
from benchmarks.service.warm_stack import WarmStack
from tests.support.running_stack import RunningStack

Json = dict[str, Any]


class Answers:
    """Returns one body per GET, in order, and records the requests."""

    def __init__(self, *bodies: Json) -> None:
        self._bodies: Iterator[Json] = iter(bodies)
        self.asked: list[str] = []

    def __call__(self, request: httpx2.Request) -> httpx2.Response:
        self.asked.append(f"{request.method} {request.url.path}")
        if request.method == "POST":
            return httpx2.Response(202, json={"id": "7"})
        return httpx2.Response(200, json={"id": "7", "error": None} | next(self._bodies))


def _stack(answers: Answers) -> WarmStack:
    http = httpx2.Client(transport=httpx2.MockTransport(answers), base_url="http://service")
    return WarmStack(RunningStack(Path("unused"), workers=1), http)


def test_a_run_is_polled_until_it_has_succeeded() -> None:
    answers = Answers({"status": "queued"}, {"status": "running"}, {"status": "succeeded"})

    seconds, run = _stack(answers).train({"model": "baseline"})

    assert seconds > 0
    assert run["status"] == "succeeded"
    assert answers.asked == ["POST /v1/experiments", *["GET /v1/experiments/7"] * 3]


def test_a_failed_run_is_an_error_and_not_a_short_time() -> None:
    with pytest.raises(RuntimeError, match="/v1/experiments/7 failed"):
        _stack(Answers({"status": "failed"})).train({"model": "baseline"})


def test_after_its_first_step_the_run_is_cancelled_and_its_end_awaited() -> None:
    running = {"status": "running", "progress": {"step": 0}}
    answers = Answers(running, running | {"progress": {"step": 1}}, running, {"status": "cancelled"})

    assert _stack(answers).until_first_step({"model": "baseline"}) > 0
    assert answers.asked[-3] == "POST /v1/experiments/7/cancel"


def test_a_study_with_an_unexpected_table_is_an_error() -> None:
    done = {"status": "succeeded", "table": [{}]}

    assert time_of_study(_stack(Answers(done)), {"model": "baseline"}, {"training.seed": [1, 2]}, rows=1) > 0
    with pytest.raises(RuntimeError, match="1 rows, not 2"):
        time_of_study(_stack(Answers(done)), {"model": "baseline"}, {"training.seed": [1, 2]}, rows=2)


def test_the_large_study_has_320_runs_in_40_cells() -> None:
    size = 1
    for values in STUDY_OF_320.values():
        size *= len(values)

    assert size == RUNS == 320
    assert CELLS == 40
