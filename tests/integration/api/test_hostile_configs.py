"""Configurations of models that somebody sends to run code, read files or exhaust the API: each is refused at once."""

import json
import logging
import subprocess
import sys
import time
from collections.abc import Iterator

import httpx2
import pytest

from service.store.experiments import Experiments
from tests.support.hostile_configs import HOSTILE, IGNORED, Hostile, dense, sequential
from tests.support.served_api import JSON, RecordedMessages, problem

MOST_SECONDS = 1.0  # for an answer; most take a few milliseconds, reading 1,900 layers some dozen
LONGEST_ANSWER = 20_000  # bytes

# Reads every configuration as the API does, in an interpreter that knows no Keras, and tells of all that it touches.
WATCHED = """
import json, sys
from service.contract.data_shape import shape_of
from service.contract.errors import InvalidSpec
from service.contract.plan import plan
from service.contract.spec import ExperimentSpec
from service.contract.workload import Limits
from tests.support.hostile_configs import HOSTILE, IGNORED

TOUCHES = ("import", "open", "compile", "exec", "marshal.", "pickle.", "os.", "subprocess.", "socket.", "urllib.")
bodies = {name: hostile.body for name, hostile in HOSTILE.items()}
bodies |= {name: json.dumps({"model": {"kind": "keras", "config": config}}) for name, config in IGNORED.items()}

def read(body):
    try:
        spec = ExperimentSpec.model_validate(json.loads(body)).resolved()
        plan(spec, shape_of(spec.data), Limits()) and spec.model_dump_json()
    except (ValueError, RecursionError, InvalidSpec):
        return "refused"
    return "accepted"

read(bodies["units zero"]), read(bodies["cycle"])  # what is imported lazily for any refusal
before, touched, outcomes = set(sys.modules), [], {}
sys.addaudithook(lambda event, arguments: touched.append((name, event)) if event.startswith(TOUCHES) else None)
for name, body in bodies.items():
    outcomes[name] = read(body)
found = list(touched)
print(json.dumps({
    "touched": found,
    "imported": sorted(set(sys.modules) - before),
    "keras": [m for m in sys.modules if m.partition(".")[0] in ("keras", "tensorflow", "torch", "jax")],
    "outcomes": outcomes,
}))
"""


@pytest.fixture(scope="module")
def seconds() -> Iterator[dict[str, float]]:
    """How long each answer took; the slowest are logged at the end."""
    taken: dict[str, float] = {}
    yield taken
    slowest = sorted(taken, key=taken.__getitem__, reverse=True)[:5]
    logging.getLogger(__name__).info("slowest: %s", {name: round(taken[name], 4) for name in slowest})


@pytest.fixture
def warm(api: httpx2.Client, queue: RecordedMessages, store: Experiments) -> httpx2.Client:
    """A client of an API that has imported whatever it imports on its first submission and its first refusal."""
    accepted = {"kind": "keras", "config": sequential(dense())}
    for model, status in ((accepted, 202), ("nothing", 422)):
        answer = api.post("/v1/experiments", json={"model": model})
        assert answer.status_code == status
    store.open(queue.ids.pop()).delete()
    return api


@pytest.mark.parametrize("name", HOSTILE)
def test_it_is_refused_quickly_by_name_and_nothing_is_imported_or_queued(
    warm: httpx2.Client, queue: RecordedMessages, seconds: dict[str, float], name: str
) -> None:
    hostile: Hostile = HOSTILE[name]
    body, before = hostile.body, set(sys.modules)

    began = time.perf_counter()
    answer = warm.post("/v1/experiments", content=body, headers=JSON)
    seconds[name] = time.perf_counter() - began

    imported = set(sys.modules) - before
    found = problem(answer, hostile.status)
    assert imported == set()
    assert [words for words in hostile.says if words not in found["detail"]] == []
    assert len(answer.content) < LONGEST_ANSWER
    assert queue.ids == []
    assert warm.get("/v1/experiments").json()["experiments"] == []
    assert seconds[name] < MOST_SECONDS, f"slowest of all: {max(seconds, key=seconds.__getitem__)}"


@pytest.mark.parametrize("name", IGNORED)
def test_what_is_ignored_is_kept_as_it_is_and_never_looked_up(
    warm: httpx2.Client, queue: RecordedMessages, name: str
) -> None:
    before = set(sys.modules)

    answer = warm.post("/v1/experiments", json={"model": {"kind": "keras", "config": IGNORED[name]}})

    assert answer.status_code == 202, answer.text
    assert set(sys.modules) == before
    assert warm.get(answer.headers["location"]).json()["spec"]["model"]["config"] == IGNORED[name]
    assert len(queue.ids) == 1


def test_reading_them_opens_runs_and_imports_nothing() -> None:
    done = subprocess.run([sys.executable, "-c", WATCHED], capture_output=True, text=True, timeout=120, check=False)

    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["touched"] == []
    assert found["imported"] == []
    assert found["keras"] == []
    assert {name for name, outcome in found["outcomes"].items() if outcome == "accepted"} == set(IGNORED)


def test_there_are_hostile_configurations_of_every_kind() -> None:
    assert len(HOSTILE) >= 150
    assert {hostile.status for hostile in HOSTILE.values()} == {413, 422}
