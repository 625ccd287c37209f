"""The effect of the same faults on plain Celery, with early and late acknowledgement of messages."""

import contextlib
import os
import random
import signal
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import redis
from celery import Celery

from tests.chaos.plain.work import history
from tests.chaos.processes import Part, free_port, until
from tests.chaos.server import server_command

VISIBILITY_S = 10.0
ROUND_S = 3 * VISIBILITY_S
FAULTS = 8
KINDS = ("kill worker", "kill trainer", "delete messages", "duplicate messages", "stop past the visibility timeout")


@dataclass
class Losses:
    """Losses among runs under faults."""

    acks: str
    kind: str
    seed: int
    runs: int = 0
    lost: int = 0  # never ended
    corrupt: int = 0  # ended with a wrong history
    twice: int = 0  # trained more than once


def measure(directory: Path, seed: int, runs: int = 20) -> list[Losses]:
    """Measure each kind of fault with messages acknowledged early and late."""
    cases = [(acks, kind) for acks in ("early", "late") for kind in KINDS]
    return [_disturbed(directory / f"{i}", acks, kind, seed, runs) for i, (acks, kind) in enumerate(cases)]


def _disturbed(directory: Path, acks: str, kind: str, seed: int, runs: int) -> Losses:
    directory.mkdir(parents=True)
    port, chance = free_port(), random.Random(seed)
    url = f"redis://127.0.0.1:{port}/0"
    settings = {"PLAIN_REDIS_URL": url, "PLAIN_ACKS": acks, "PLAIN_VISIBILITY_S": str(VISIBILITY_S)}
    server = Part("server", server_command(port, directory), directory / "server.log", {})
    command = [sys.executable, "-m", "celery", "--app", "tests.chaos.plain.app", "worker", "--loglevel", "WARNING"]
    worker = Part("worker", command, directory / "worker.log", settings)
    server.start()
    client = redis.Redis(port=port)
    until(lambda: _answers(client), "the server", 10)
    worker.start()
    losses = Losses(acks, kind, seed, runs)
    try:
        names = [f"run-{number}" for number in range(runs)]
        sender = Celery("sender", broker=url, set_as_current=False)
        for name in names:
            sender.send_task("plain.train", args=[name], queue="plain")
        for _ in range(FAULTS):
            with contextlib.suppress(TimeoutError):
                until(lambda: _trains(client, names), "a run", 30)
            time.sleep(chance.uniform(0, 1))
            _fault(kind, worker, client, chance)
        last, since = -1, time.monotonic()
        while time.monotonic() - since < ROUND_S:  # until nothing has changed for a round
            now = sum(int(client.exists(f"ended:{name}")) for name in names) * 1000 + int(client.hlen("attempts"))
            if now != last:
                last, since = now, time.monotonic()
            time.sleep(0.2)
        for name in names:
            attempts = int(client.hget("attempts", name) or 0)
            losses.twice += attempts > 1
            if not client.exists(f"ended:{name}"):
                losses.lost += 1
            elif client.lrange(f"history:{name}", 0, -1) != history(name):
                losses.corrupt += 1
    finally:
        worker.kill_group()
        server.kill()
    return losses


def _fault(kind: str, worker: Part, client: redis.Redis, chance: random.Random) -> None:
    children = worker.children()
    if kind == "kill worker":
        worker.kill_group()
        worker.start()
    elif kind == "kill trainer" and children:
        os.kill(chance.choice(children), signal.SIGKILL)
    elif kind == "delete messages":
        client.delete("plain")
    elif kind == "duplicate messages":
        waiting = client.lrange("plain", 0, 0)
        if waiting:
            client.lpush("plain", *[waiting[0]] * 3)
    elif kind == "stop past the visibility timeout" and children:
        pid = chance.choice(children)
        os.kill(pid, signal.SIGSTOP)
        time.sleep(VISIBILITY_S + 2)
        os.kill(pid, signal.SIGCONT)


def _trains(client: redis.Redis, names: list[str]) -> bool:
    """Whether a run has begun and not ended."""
    return any(client.hexists("attempts", name) and not client.exists(f"ended:{name}") for name in names)


def _answers(client: redis.Redis) -> bool:
    try:
        return bool(client.ping())
    except redis.exceptions.ConnectionError:
        return False
