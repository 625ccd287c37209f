"""The faults: each one breaks something in a stack and measures how long it takes until runs continue."""

import os
import random
import signal
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, cast

import httpx2
import redis

from service.store.queue import EXPERIMENTS_QUEUE
from tests.chaos.oracle import ENDED, SPECS, Oracle
from tests.chaos.processes import Stack, until
from tests.chaos.proxy import Proxy

RECOVERS_WITHIN_S = 120.0
SHORTEST = "dropout, momentum, a graph"
SHARE_LONGER_THAN_A_LEASE = 0.3  # of the periods without memory
MAX_WAIT_BEFORE_S = 3.0  # random, so that faults hit runs at any step


@dataclass
class Recovery:
    """Times of recovery after one fault, in seconds; None if no run was affected."""

    requeued_s: float | None = None  # until the run is queued again or has a new attempt
    resumed_s: float | None = None  # until any run makes progress
    count: int = 1  # number of faults
    notes: dict[str, float] = field(default_factory=dict)


@dataclass
class Scene:
    """Everything that a fault needs."""

    stack: Stack
    oracle: Oracle
    random: random.Random
    proxy: Proxy | None = None
    lease_s: float = 30.0

    def wait_at_random(self) -> None:
        """Wait for a random time."""
        time.sleep(self.random.uniform(0, MAX_WAIT_BEFORE_S))

    def until_training(self) -> list[str]:
        """Wait until a run is training; return the ids of the running runs."""
        until(lambda: bool(self.oracle.running), "a run", RECOVERS_WITHIN_S)
        return self.oracle.running

    def until_progress(self, since: float, before: dict[str, tuple[str, int, int]]) -> float:
        """Wait until a run has made progress since `before`; return the seconds since the fault."""

        def progressed() -> bool:
            after = self.oracle.progress()
            return any(after.get(i, ("", 0, 0))[2] > key[2] or i not in after for i, key in before.items()) or any(
                i not in before and key[2] > 0 for i, key in after.items()
            )

        until(progressed, "progress of a run", RECOVERS_WITHIN_S)
        return time.monotonic() - since

    def until_requeued(self, since: float, victims: dict[str, int]) -> float | None:
        """Wait until the attempts of these runs are over; return the seconds since the fault, or None."""

        def left(experiment_id: str, attempt: int) -> bool:
            seen = self.oracle.runs[experiment_id]
            return seen.status != "running" or seen.attempts > attempt

        until(lambda: all(left(i, a) for i, a in victims.items()), "queued again", RECOVERS_WITHIN_S)
        seconds = time.monotonic() - since
        return seconds if any(self.oracle.runs[i].status not in ENDED for i in victims) else None

    def victims(self, running: list[str]) -> dict[str, int]:
        """Return those of these runs that are running now, with their attempts."""
        return {i: self.oracle.runs[i].attempts for i in running if self.oracle.runs[i].status == "running"}


Fault = Callable[[Scene], Recovery]


def kill_trainer(scene: Scene) -> Recovery:
    """Send SIGKILL to a training process."""
    scene.until_training()
    scene.wait_at_random()
    victims, before = scene.victims(scene.oracle.running), scene.oracle.progress()
    (pid,) = scene.random.sample(scene.stack.trainer_pids(), 1)
    began = time.monotonic()
    os.kill(pid, signal.SIGKILL)
    requeued = scene.until_requeued(began, victims) if len(scene.stack.trainer_pids()) <= 1 else None
    return Recovery(requeued, scene.until_progress(began, before))


def kill_worker(scene: Scene) -> Recovery:
    """Send SIGKILL to a worker's parent process; its trainers exit with it."""
    return _kill_worker(scene, with_trainers=False)


def kill_worker_and_trainers(scene: Scene) -> Recovery:
    """Send SIGKILL to a worker's parent process and its trainers at the same time."""
    return _kill_worker(scene, with_trainers=True)


def _kill_worker(scene: Scene, *, with_trainers: bool) -> Recovery:
    scene.until_training()
    scene.wait_at_random()
    victims, before = scene.victims(scene.oracle.running), scene.oracle.progress()
    trainers = scene.stack.trainer_pids()
    began = time.monotonic()
    scene.stack.worker.kill()
    for pid in trainers if with_trainers else []:
        _kill(pid)
    until(lambda: not any(_alive(pid) for pid in trainers), "the trainers' end", 10)
    scene.stack.worker.start()
    requeued = scene.until_requeued(began, victims)
    return Recovery(requeued, scene.until_progress(began, before))


def stop_worker(scene: Scene) -> Recovery:
    """Send SIGTERM to a worker that trains."""
    scene.until_training()
    scene.wait_at_random()
    victims, before = scene.victims(scene.oracle.running), scene.oracle.progress()
    began = time.monotonic()
    seconds = scene.stack.worker.end()
    requeued = scene.until_requeued(began, victims)
    scene.stack.worker.start()
    return Recovery(requeued, scene.until_progress(began, before), notes={"ended_s": seconds})


def kill_server(scene: Scene) -> Recovery:
    """Send SIGKILL to the server and start it again at once."""
    scene.until_training()
    scene.wait_at_random()
    before = scene.oracle.progress()
    scene.stack.server.kill()
    began = time.monotonic()
    scene.stack.server.start()
    scene.stack.until_server_answers()
    return Recovery(resumed_s=scene.until_progress(began, before))


def zombie(scene: Scene) -> Recovery:
    """Suspend a trainer for longer than its lease and then resume it."""
    scene.until_training()
    scene.wait_at_random()
    (pid,) = scene.random.sample(scene.stack.trainer_pids(), 1)
    began = time.monotonic()
    os.kill(pid, signal.SIGSTOP)
    at = {i: seen.attempts for i, seen in scene.oracle.runs.items()}
    requeued: float | None = None
    try:
        # The lost run is the one whose attempt ends. There is none if the trainer was between two runs.
        until(lambda: _any_lost(scene.oracle, at), "queued again", scene.lease_s + 20)
        requeued = time.monotonic() - began
        time.sleep(scene.random.uniform(0, 1))
    except TimeoutError:
        pass
    finally:
        os.kill(pid, signal.SIGCONT)
    return Recovery(requeued, scene.until_progress(began, scene.oracle.progress()), count=int(requeued is not None))


def _any_lost(oracle: Oracle, attempts_before: dict[str, int]) -> bool:
    for experiment_id, seen in list(oracle.runs.items()):
        claimed_before = max(attempts_before.get(experiment_id, 0), 1)
        if (seen.status == "queued" and seen.attempts > 0) or seen.attempts > claimed_before:
            return True
    return False


def duplicate_messages(scene: Scene) -> Recovery:
    """Send the same message ten times."""
    client = scene.stack.client()
    experiment_id = scene.oracle.submit(scene.random.choice(list(SPECS)))
    waiting = cast("list[bytes]", client.lrange(EXPERIMENTS_QUEUE, 0, 0))
    message = waiting[0] if waiting else _last_message(client)
    if message is None:
        return Recovery(count=0)
    client.lpush(EXPERIMENTS_QUEUE, *[message] * 10)
    until(lambda: scene.oracle.runs[experiment_id].status in ENDED, "the end", RECOVERS_WITHIN_S)
    return Recovery(count=10)


def _last_message(client: redis.Redis) -> bytes | None:
    """Return the message of the run that was just submitted; it waits because the worker is busy."""
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline:
        waiting = cast("list[bytes]", client.lrange(EXPERIMENTS_QUEUE, 0, 0))
        if waiting:
            return waiting[0]
        time.sleep(0.001)
    return None


def delete_messages(scene: Scene) -> Recovery:
    """Delete all waiting messages."""
    client = scene.stack.client()
    scene.oracle.submit(SHORTEST)
    with client.pipeline() as pipeline:
        pipeline.llen(EXPERIMENTS_QUEUE)
        pipeline.delete(EXPERIMENTS_QUEUE)
        count = int(pipeline.execute()[0])
    before, began = scene.oracle.progress(), time.monotonic()
    return Recovery(resumed_s=scene.until_progress(began, before), count=count)


def kill_api(scene: Scene) -> Recovery:
    """Send SIGKILL to the API during a submission."""
    tag, name = f"kill-{scene.random.getrandbits(48):x}", scene.random.choice(list(SPECS))
    accepted: list[str] = []

    def post() -> None:
        try:
            answer = httpx2.post(f"{scene.stack.url}/v1/experiments", json={**SPECS[name], "tags": [tag]}, timeout=10)
        except httpx2.TransportError:
            return
        if answer.status_code == 202:
            accepted.append(answer.json()["id"])

    posting = threading.Thread(target=post)
    posting.start()
    time.sleep(scene.random.uniform(0, 0.06))
    began = time.monotonic()
    scene.stack.api.kill()
    posting.join()
    scene.stack.api.start()
    scene.stack.until_api_answers()
    listed: list[str] | None = None
    while listed is None:
        listed = scene.oracle.listed(tag)
    for experiment_id in {*listed, *accepted}:  # an accepted run that is not listed will be reported as lost
        scene.oracle.adopt(experiment_id, name)
    notes = {"answered": float(bool(accepted)), "recorded": float(bool(listed))}
    return Recovery(resumed_s=time.monotonic() - began, notes=notes)


def out_of_memory(scene: Scene) -> Recovery:
    """Let the server refuse writes for lack of memory for a while."""
    scene.until_training()
    client = scene.stack.client()
    client.config_set("maxmemory", "1mb")
    refused = 0
    for _ in range(scene.random.randint(2, 6)):
        answer = httpx2.post(f"{scene.stack.url}/v1/experiments", json={"model": "baseline"}, timeout=10)
        if answer.status_code == 202:
            scene.oracle.runs[answer.json()["id"]] = _wrong("a full server accepted a run")
        elif answer.status_code != 503 or "retry-after" not in answer.headers:
            scene.oracle.server_errors += 1
        refused += 1
        time.sleep(0.5)
    if scene.random.random() < SHARE_LONGER_THAN_A_LEASE:
        time.sleep(1.5 * scene.lease_s)
    before, began = scene.oracle.progress(), time.monotonic()
    client.config_set("maxmemory", "0")
    return Recovery(resumed_s=scene.until_progress(began, before), notes={"refused": float(refused)})


def _wrong(why: str) -> Any:
    from tests.chaos.oracle import Seen

    return Seen(next(iter(SPECS)), wrong=[why])


def reset_connections(scene: Scene) -> Recovery:
    """Reset every connection to the server."""
    assert scene.proxy is not None
    scene.until_training()
    scene.wait_at_random()
    before, began = scene.oracle.progress(), time.monotonic()
    scene.proxy.reset()
    return Recovery(resumed_s=scene.until_progress(began, before))


def black_hole(scene: Scene) -> Recovery:
    """Drop all packets of the existing connections to the server; new connections work."""
    assert scene.proxy is not None
    scene.until_training()
    scene.wait_at_random()
    before, began = scene.oracle.progress(), time.monotonic()
    scene.proxy.black_hole()
    return Recovery(resumed_s=scene.until_progress(began, before))


def slow_network(scene: Scene) -> Recovery:
    """Delay every packet by 300 ms for two seconds."""
    assert scene.proxy is not None
    scene.until_training()
    before, began = scene.oracle.progress(), time.monotonic()
    scene.proxy.delay(0.3, 2.0)
    time.sleep(2.0)
    return Recovery(resumed_s=scene.until_progress(began, before))


def nothing(scene: Scene) -> Recovery:
    """Train a run without any fault; for stacks whose clock is wrong."""
    experiment_id = scene.oracle.submit(scene.random.choice(list(SPECS)))
    until(lambda: scene.oracle.runs[experiment_id].status in ENDED, "the end", RECOVERS_WITHIN_S)
    if scene.oracle.runs[experiment_id].attempts != 1:
        scene.oracle.runs[experiment_id].wrong.append("it was delivered more than once")
    return Recovery()


def _kill(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return


def _alive(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat") as file:  # noqa: PTH123
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


class Everything:
    """One fault of each kind after the other, in random order."""

    KINDS: tuple[Fault, ...] = (
        kill_trainer,
        kill_worker,
        stop_worker,
        kill_server,
        kill_api,
        zombie,
        duplicate_messages,
        delete_messages,
        out_of_memory,
        reset_connections,
        slow_network,
    )

    def __init__(self) -> None:
        self._left: list[Fault] = []

    def __call__(self, scene: Scene) -> Recovery:
        if not self._left:
            self._left = scene.random.sample(self.KINDS, len(self.KINDS))
        fault = self._left.pop()
        began = time.monotonic()
        recovery = fault(scene)
        return Recovery(count=1, notes={fault.__name__: time.monotonic() - began, **recovery.notes})
