"""Model configurations that try to run code, read files or exhaust the API are refused quickly."""

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

MAX_SECONDS = 1.0  # per answer; most take a few milliseconds, 1,900 layers about twelve
MAX_ANSWER_BYTES = 20_000

# Parses every configuration as the API does, in an interpreter without Keras, and prints what it touches.
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

read(bodies["units zero"]), read(bodies["cycle"])  # imports what any refusal imports lazily
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
    """Seconds of each answer; the slowest are logged at the end."""
    taken: dict[str, float] = {}
    yield taken
    slowest = sorted(taken, key=taken.__getitem__, reverse=True)[:5]
    logging.getLogger(__name__).info("slowest: %s", {name: round(taken[name], 4) for name in slowest})


@pytest.fixture
def warm(api: httpx2.Client, queue: RecordedMessages, store: Experiments) -> httpx2.Client:
    """A client of an API that has already made the lazy imports of a submission and of a refusal."""
    accepted = {"kind": "keras", "config": sequential(dense())}
    for model, status in ((accepted, 202), ("nothing", 422)):
        answer = api.post("/v1/experiments", json={"model": model})
        assert answer.status_code == status
    store.open(queue.ids.pop()).delete()
    return api


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_configuration_is_refused_quickly_and_nothing_is_imported_or_queued(
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
    assert len(answer.content) < MAX_ANSWER_BYTES
    assert queue.ids == []
    assert warm.get("/v1/experiments").json()["experiments"] == []
    assert seconds[name] < MAX_SECONDS, f"slowest of all: {max(seconds, key=seconds.__getitem__)}"


@pytest.mark.parametrize("name", IGNORED)
def test_ignored_fields_are_stored_unchanged_and_never_resolved(
    warm: httpx2.Client, queue: RecordedMessages, name: str
) -> None:
    before = set(sys.modules)

    answer = warm.post("/v1/experiments", json={"model": {"kind": "keras", "config": IGNORED[name]}})

    assert answer.status_code == 202, answer.text
    assert set(sys.modules) == before
    assert warm.get(answer.headers["location"]).json()["spec"]["model"]["config"] == IGNORED[name]
    assert len(queue.ids) == 1


def test_parsing_hostile_configurations_opens_no_file_runs_no_code_and_imports_nothing() -> None:
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
