"""A queue may contain anything: a worker discards invalid messages, logs each once, and continues training."""

import base64
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis

from service.contract.record import Status
from service.contract.spec import ExperimentSpec
from service.store.experiments import Experiments
from service.store.publisher import CeleryPublisher
from service.store.queue import EXPERIMENTS_QUEUE, TRAIN_TASK
from service.store.settings import RedisSettings
from tests.support.plans import new_experiment

SMALL = {"model": {"kind": "baseline", "depth": 1, "width": 2}, "training": {"epochs": 1}}
READY_WITHIN_S = 120.0
ID = "0" * 24


@pytest.fixture
def log(redis_settings: RedisSettings, client: redis.Redis, tmp_path: Path) -> Iterator[Path]:
    """The log of a real worker with one trainer that is ready."""
    path = tmp_path / "worker.log"
    command = [sys.executable, "-m", "celery", "--app", "worker.app", "--quiet", "worker", "--loglevel", "INFO"]
    environment = os.environ | {"GRADFLOW_REDIS_URL": redis_settings.url, "GRADFLOW_TRAINERS": "1"}
    with path.open("wb") as output:
        worker = subprocess.Popen(command, env=environment, stdout=output, stderr=subprocess.STDOUT)
    try:
        until(lambda: bool(Experiments(client).trainer_names()), worker)
        yield path
        assert worker.poll() is None, path.read_text()
    finally:
        worker.terminate()
        worker.wait()


def until(holds: Any, worker: "subprocess.Popen[bytes] | None" = None) -> None:
    deadline = time.monotonic() + READY_WITHIN_S
    while not holds():
        assert worker is None or worker.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.05)


def changed(**changes: Any) -> bytes:
    """A message of ours in which some fields are different."""
    return json.dumps(CeleryPublisher(RedisSettings()).message(ID) | changes).encode()


def body(value: Any) -> str:
    return base64.b64encode(json.dumps(value).encode()).decode()


UNREADABLE = [
    b"",
    b"not JSON",
    b"\xff\xfe",
    b"[" * 100_000,
    b'{"__type__": "uuid", "__value__": 1}',
    b'{"__type__": "datetime", "__value__": {}}',
]
NOT_OURS = [
    b"1",
    b"[]",
    b"{}",
    changed(headers=None),
    changed(headers={"task": "unknown", "id": ID}),
    changed(headers={"task": TRAIN_TASK}, body=body("not arguments")),
    changed(body="not base64!"),
    changed(body=base64.b64encode(b"\xff").decode()),
    changed(**{"content-type": "application/x-python-serialize"}),
    changed(**{"content-type": "text/plain"}),
]
UNUSUAL = [  # an experiment id in an envelope that Celery would refuse
    changed(properties={}),
    changed(properties=None),
    changed(headers={"task": TRAIN_TASK, "eta": "soon", "timelimit": 3}),
    changed(**{"content-encoding": "unknown"}),
]


def test_a_worker_survives_every_message_and_then_trains(
    log: Path, client: redis.Redis, store: Experiments, redis_settings: RedisSettings
) -> None:
    for message in (*UNREADABLE, *NOT_OURS, *UNUSUAL):
        client.lpush(EXPERIMENTS_QUEUE, message)
    until(lambda: client.llen(EXPERIMENTS_QUEUE) == 0)

    spec = ExperimentSpec.model_validate(SMALL).resolved()
    store.create(ID, new_experiment(spec))
    CeleryPublisher(redis_settings).publish(ID)
    until(lambda: store.get(ID).status == Status.SUCCEEDED)

    text = log.read_text()
    assert text.count("discarded a message that cannot be read") == len(UNREADABLE)
    assert text.count("discarded a message that is not for this worker") == len(NOT_OURS)
    assert "Traceback" not in text
    assert client.hlen("unacked") == 0
