"""Server-sent events: each event once and in order, also after a reconnect."""

import json
import queue
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import httpx2
import numpy as np
import pytest
import redis

from gradflow.client import ApiError, Client
from service.api.routes import events
from service.api.settings import ApiSettings
from service.application.plans import Plans
from service.application.predictions import Predictions
from service.application.progress_events import events_since
from service.contract.history_format import STEP_LOSS, HistoryChunk, Piece
from service.contract.record import Outcome, Status, Timing
from service.store.attempts import Attempts
from service.store.datasets import Datasets
from service.store.experiments import Experiments
from tests.support.served_api import RecordedMessages, problem, served, submit, write

SPEC = {"kind": "baseline", "depth": 2, "width": 3}
KERNELS = ["dense_1/kernel", "dense_2/kernel", "output/kernel"]
Event = dict[str, Any]


@pytest.fixture(autouse=True)
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    """Poll more often than in production."""
    monkeypatch.setattr(events, "POLL_EVERY_S", 0.01)


def received(api: httpx2.Client, experiment_id: str, last: str | None = None) -> Iterator[Event]:
    headers = {} if last is None else {"Last-Event-ID": last}
    with api.stream("GET", f"/v1/experiments/{experiment_id}/events", headers=headers) as answer:
        assert answer.status_code == 200
        assert answer.headers["content-type"].startswith("text/event-stream")
        event: Event = {}
        for line in answer.iter_lines():
            if not line:
                yield event
                event = {}
                continue
            name, _, value = line.partition(": ")
            event[name] = json.loads(value) if name == "data" else value


def finish(store: Experiments, experiment_id: str, attempt: int) -> None:
    Attempts(store.client).finish(experiment_id, attempt, Status.SUCCEEDED, Outcome(loss=0.5), Timing())


def test_after_the_end_a_client_gets_all_events_once_and_the_stream_closes(
    api: httpx2.Client, store: Experiments
) -> None:
    experiment_id = submit(api, model=SPEC)
    attempt = write(store, experiment_id, 30, outcome={"loss": 0.5})
    finish(store, experiment_id, attempt)

    found = list(received(api, experiment_id))

    assert [event["event"] for event in found] == ["progress", "gradients", "status"]
    progress, gradients, status = (event["data"] for event in found)
    assert (progress["step"], progress["total_steps"], progress["outcome"]["loss"]) == (30, 125, 0.5)
    assert gradients["step"] == 29
    assert gradients["values"] == [29 * 6, 29 * 6 + 2, 29 * 6 + 4]
    assert len(gradients["variables"]) == len(gradients["values"])
    assert status == {"status": "succeeded", "attempts": 1, "error": None}
    assert [("id" in event) for event in found] == [False, False, True]
    again = api.get(f"/v1/experiments/{experiment_id}/events", headers={"Last-Event-ID": found[-1]["id"]})
    assert again.status_code == 204


def test_a_client_can_follow_a_run_from_the_queue_to_its_end(
    api: httpx2.Client, store: Experiments, attempts: Attempts
) -> None:
    experiment_id = submit(api, model=SPEC)
    found: list[Event] = []
    arrived: queue.Queue[Event] = queue.Queue()

    def read() -> None:
        for event in received(api, experiment_id):
            found.append(event)
            arrived.put(event)

    reader = threading.Thread(target=read)
    reader.start()

    def until(holds: Callable[[str, Any], bool]) -> None:
        event = arrived.get(timeout=20)
        while not holds(event["event"], event["data"]):
            event = arrived.get(timeout=20)

    until(lambda name, data: name == "status" and data["status"] == "queued")
    attempt = write(store, experiment_id, 10)
    until(lambda name, data: name == "gradients" and data["step"] == 9)
    row = np.array([np.nan, 0, np.inf, 0, 2.5, 0], "<f4").tobytes()
    pieces = (Piece("gradient_norm", 240, row), Piece(STEP_LOSS, 40, bytes(4)))
    attempts.append(experiment_id, attempt, HistoryChunk(10, 11, 0, pieces), Outcome())
    until(lambda name, data: name == "gradients" and data["step"] == 10)
    finish(store, experiment_id, attempt)
    reader.join()

    assert found[-1]["data"]["status"] == "succeeded"
    assert [event["data"]["values"] for event in found if event["event"] == "gradients"][-1] == [None, None, 2.5]
    steps = [event["data"]["step"] for event in found if event["event"] == "progress"]
    assert steps in ([0, 10, 11], [0, 0, 10, 11])  # twice 0 if a poll came between the claim and the first chunk


def test_a_client_that_reconnects_gets_only_the_events_that_it_has_missed(
    api: httpx2.Client, store: Experiments, attempts: Attempts
) -> None:
    experiment_id = submit(api, model=SPEC)
    attempt = write(store, experiment_id, 10)
    seen = ""
    for event in received(api, experiment_id):
        seen = event.get("id", seen)
        if seen:
            break
    attempts.append(experiment_id, attempt, HistoryChunk(10, 10, 0, ()), Outcome())
    finish(store, experiment_id, attempt)

    missed = list(received(api, experiment_id, seen))

    assert [event["event"] for event in missed] == ["status"]


@pytest.mark.parametrize("last", ["", "nix", "running.1", "running.x.1", "running.1.²", "😀" * 10])
def test_an_invalid_last_event_id_is_ignored(api: httpx2.Client, store: Experiments, last: str) -> None:
    experiment_id = submit(api, model=SPEC)
    finish(store, experiment_id, write(store, experiment_id, 1))
    headers = [(b"Last-Event-ID", last.encode())]

    answer = api.get(f"/v1/experiments/{experiment_id}/events", headers=headers)

    assert answer.text.count("event: ") == 3


def test_an_unknown_experiment_is_404_and_too_many_readers_are_503(store: Experiments, client: redis.Redis) -> None:
    with served(store, Datasets(client), RecordedMessages(), ApiSettings(event_readers=1)) as api:
        problem(api.get("/v1/experiments/nix/events"), 404)
        experiment_id = submit(api, model=SPEC)
        first = received(api, experiment_id)
        next(first)
        refused = api.get(f"/v1/experiments/{experiment_id}/events")
        assert "1 readers" in problem(refused, 503)["detail"]
        first.close()  # type: ignore[attr-defined]
        deadline = time.monotonic() + 10
        while not any(True for _ in _first_of(api, experiment_id)):
            assert time.monotonic() < deadline


def test_concurrent_readers_never_exceed_the_limit(store: Experiments, client: redis.Redis) -> None:
    with served(store, Datasets(client), RecordedMessages(), ApiSettings(event_readers=2)) as api:
        experiment_id = submit(api, model=SPEC)
        together, statuses = threading.Barrier(8), []

        def read() -> None:
            together.wait()
            with api.stream("GET", f"/v1/experiments/{experiment_id}/events") as answer:
                statuses.append(answer.status_code)
                together.wait()

        readers = [threading.Thread(target=read) for _ in range(8)]
        for reader in readers:
            reader.start()
        for reader in readers:
            reader.join()

    assert sorted(statuses) == [200] * 2 + [503] * 6


def test_gradient_norms_come_with_their_own_step(api: httpx2.Client, store: Experiments) -> None:
    experiment_id = submit(api, model=SPEC)
    attempt = write(store, experiment_id, 10)
    experiment = store.open(experiment_id)
    more = HistoryChunk(10, 20, 0, (Piece("gradient_norm", 10 * 6 * 4, np.full((10, 6), 7, "<f4").tobytes()),))

    Attempts(store.client).append(experiment_id, attempt, more, Outcome())
    found = events_since(experiment, Plans(Predictions()), None)
    (norms,) = (one.data for one in found if one.name == "gradients")

    assert norms["step"] == 9
    assert norms["values"] == [9 * 6.0, 9 * 6 + 2.0, 9 * 6 + 4.0]


def _first_of(api: httpx2.Client, experiment_id: str) -> Iterator[str]:
    with api.stream("GET", f"/v1/experiments/{experiment_id}/events") as answer:
        if answer.status_code == 200:
            yield next(answer.iter_lines())


def test_an_idle_stream_gets_keep_alive_comments(api: httpx2.Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events, "KEEP_ALIVE_S", 0.05)
    experiment_id = submit(api, model=SPEC)
    with api.stream("GET", f"/v1/experiments/{experiment_id}/events") as answer:
        assert any(line.startswith(": keep-alive") for line in answer.iter_lines())


def test_deleting_an_experiment_ends_its_event_streams(api: httpx2.Client, store: Experiments) -> None:
    experiment_id = submit(api, model=SPEC)
    found = received(api, experiment_id)
    next(found)
    store.open(experiment_id).cancel()
    store.open(experiment_id).delete()

    heard = [event["data"]["status"] for event in found if event["event"] == "status"]
    assert heard[-1:] in ([], ["queued"], ["cancelled"])


def test_many_event_streams_leave_threads_for_other_requests(api: httpx2.Client) -> None:
    experiment_id = submit(api, model=SPEC)
    with httpx2.Client(base_url=api.base_url, limits=httpx2.Limits(max_connections=100)) as many:
        streams = [many.stream("GET", f"/v1/experiments/{experiment_id}/events") for _ in range(60)]
        for stream in streams:
            stream.__enter__()
        assert all(api.get(f"/v1/experiments/{experiment_id}").status_code == 200 for _ in range(20))
        for stream in streams:
            stream.__exit__(None, None, None)


def test_the_client_follows_a_run(api: httpx2.Client, store: Experiments) -> None:
    experiment_id = submit(api, model=SPEC)
    finish(store, experiment_id, write(store, experiment_id, 3))
    with Client(str(api.base_url)) as gradflow:
        assert [name for name, _ in gradflow.events(experiment_id)] == ["progress", "gradients", "status"]
        with pytest.raises(ApiError, match="nix"):
            next(gradflow.events("nix"))
