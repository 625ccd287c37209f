"""Admission: each request creates one result, and no more is accepted than Redis has capacity for."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx2
import pytest
import redis

from service.api.settings import ApiSettings
from service.contract.record import Outcome, Status, Timing
from service.store.attempts import Attempts
from service.store.datasets import Datasets
from service.store.experiments import Experiments
from tests.support.claims import claim_run
from tests.support.served_api import RecordedMessages, problem, served

SPEC = {"model": "baseline"}
STUDY: dict[str, Any] = {"base": SPEC, "axes": {"training.seed": [0, 1]}}
POSTS: dict[str, dict[str, Any]] = {"/v1/experiments": SPEC, "/v1/studies": STUDY}


def post(api: httpx2.Client, path: str, body: dict[str, Any], key: str) -> httpx2.Response:
    return api.post(path, json=body, headers={"Idempotency-Key": key})


@pytest.mark.parametrize("path", POSTS)
def test_a_retry_with_the_same_key_returns_the_original_result(
    api: httpx2.Client, queue: RecordedMessages, path: str
) -> None:
    first, second = (post(api, path, POSTS[path], "a-key") for _ in range(2))
    other = post(api, path, POSTS[path], "another-key")

    assert first.status_code == second.status_code == other.status_code == 202
    assert first.json() == second.json()
    assert first.headers["location"] == second.headers["location"] != other.headers["location"]
    made = api.get("/v1/experiments").json()["experiments"]
    assert len(queue.ids) == len(made) == (2 if path == "/v1/experiments" else 4)


@pytest.mark.parametrize("path", POSTS)
def test_a_key_belongs_to_one_body(api: httpx2.Client, path: str) -> None:
    post(api, path, POSTS[path], "a-key")
    body = {**POSTS[path], "name": "another"}

    found = problem(post(api, path, body, "a-key"), 422)

    assert found["errors"][0]["location"] == "header.idempotency-key"
    assert found["errors"][0]["code"] == "rule"


def test_an_equivalent_body_is_the_same_request(api: httpx2.Client) -> None:
    first = post(api, "/v1/experiments", SPEC, "a-key")
    second = post(
        api, "/v1/experiments", {"training": {"seed": 0}, "model": {"kind": "baseline", "depth": 11}}, "a-key"
    )

    assert first.json()["id"] == second.json()["id"]


def test_a_key_is_forgotten_with_its_result_and_after_a_day(api: httpx2.Client, client: redis.Redis) -> None:
    first = post(api, "/v1/experiments", SPEC, "a-key").json()
    (remembered,) = client.keys("gradflow:request:*")
    assert 86_000 < int(client.ttl(remembered)) <= 86_400
    api.post(first["links"]["cancel"])
    assert api.delete(first["links"]["self"]).status_code == 204

    second = post(api, "/v1/experiments", {**SPEC, "name": "another"}, "a-key")

    assert second.status_code == 202
    assert second.json()["id"] != first["id"]


@pytest.mark.parametrize("path", POSTS)
def test_a_retry_works_after_its_data_set_was_deleted(api: httpx2.Client, path: str) -> None:
    table = "a,b,kind\n" + "".join(f"{i},{i * i % 7},{i % 2}\n" for i in range(60))
    dataset = api.post("/v1/datasets", content=table, headers={"content-type": "text/csv"}).json()
    spec = {**SPEC, "data": {"source": "upload", "dataset_id": dataset["id"]}}
    body = spec if path == "/v1/experiments" else {**STUDY, "base": spec}
    made = post(api, path, body, "a-key").json()
    assert api.post(made["links"]["cancel"]).status_code == 202
    assert api.delete(dataset["links"]["self"]).status_code == 204

    again = post(api, path, body, "a-key")

    assert again.status_code == 202
    assert again.json()["id"] == made["id"]
    problem(post(api, path, body, "another-key"), 422)
    problem(post(api, path, {**body, "name": "another"}, "a-key"), 422)


@pytest.mark.parametrize("key", ["", "k" * 256, "a key", "schlüssel"])
def test_an_invalid_key_is_refused_by_name(api: httpx2.Client, key: str) -> None:
    answer = api.post("/v1/experiments", json=SPEC, headers=[(b"Idempotency-Key", key.encode())])

    assert "header.idempotency-key" in problem(answer, 422)["errors"][0]["location"]


def test_concurrent_retries_get_the_same_experiment(api: httpx2.Client, queue: RecordedMessages) -> None:
    keys = [f"key-{number}" for number in range(20) for _ in range(10)]

    with ThreadPoolExecutor(16) as clients:
        answers = list(clients.map(lambda key: post(api, "/v1/experiments", SPEC, key), keys))

    assert {answer.status_code for answer in answers} == {202}
    ids = {key: {a.json()["id"] for a, k in zip(answers, keys, strict=True) if k == key} for key in keys}
    assert all(len(found) == 1 for found in ids.values())
    assert len(queue.ids) == len(set(queue.ids)) == 20
    assert len(api.get("/v1/experiments?limit=200").json()["experiments"]) == 20


@pytest.fixture
def narrow(store: Experiments, client: redis.Redis) -> Iterator[httpx2.Client]:
    """An API with a queue of three experiments."""
    settings = ApiSettings(queued_experiments=3)
    with served(store, Datasets(client), RecordedMessages(), settings) as api:
        yield api


def test_a_full_queue_refuses_experiments_and_keeps_the_queued_ones(narrow: httpx2.Client) -> None:
    assert narrow.post("/v1/studies", json=STUDY).status_code == 202
    refused = narrow.post("/v1/studies", json=STUDY)
    assert "at most 3 experiments may be queued" in problem(refused, 503)["detail"]
    assert refused.headers["retry-after"]
    last = post(narrow, "/v1/experiments", SPEC, "a-key")
    assert last.status_code == 202
    problem(narrow.post("/v1/experiments", json=SPEC), 503)
    assert post(narrow, "/v1/experiments", SPEC, "a-key").json() == last.json()  # it is in the queue

    narrow.post(last.json()["links"]["cancel"])

    assert narrow.post("/v1/experiments", json=SPEC).status_code == 202


LARGE = {"model": "baseline", "training": {"epochs": 4_000}}  # 100,000 steps with 24 norms: 10 MB


@pytest.fixture
def small(client: redis.Redis, store: Experiments) -> Iterator[httpx2.Client]:
    """An API over a server with 25 MB of free memory."""
    used = client.info("memory")["used_memory"]
    client.config_set("maxmemory", int((used + 25e6) / 0.85))
    with served(store, Datasets(client), RecordedMessages()) as api:
        yield api
    client.config_set("maxmemory", "0")


def test_an_experiment_that_redis_has_no_memory_for_is_refused_before_redis_is_full(
    small: httpx2.Client, attempts: Attempts, client: redis.Redis
) -> None:
    first, second = (small.post("/v1/experiments", json=LARGE) for _ in range(2))
    assert first.status_code == second.status_code == 202
    assert "too little memory" in problem(small.post("/v1/experiments", json=LARGE), 503)["detail"]
    assert small.post("/v1/experiments", json=SPEC).status_code == 202  # a small experiment still fits
    problem(small.post("/v1/studies", json={"base": LARGE, "axes": {"training.seed": [1]}}), 503)

    claim = claim_run(attempts, first.json()["id"], "cpu")
    assert claim is not None
    attempts.finish(first.json()["id"], claim, Status.SUCCEEDED, Outcome(), Timing())
    small.post(second.json()["links"]["cancel"])

    assert small.post("/v1/experiments", json=LARGE).status_code == 202
    for experiment in small.get("/v1/experiments").json()["experiments"]:
        small.post(experiment["links"]["cancel"])
        small.delete(experiment["links"]["self"])
    assert client.get("gradflow:reserved") is None
