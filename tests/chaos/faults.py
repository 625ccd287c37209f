"""Each way in which something breaks: what is done to a stack, and how long it takes until runs go on."""

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
OUTLASTS_A_LEASE = 0.3  # of the times without memory
WAIT_BEFORE_S = 3.0  # at most, so that faults hit runs at any step


@dataclass
class Recovery:
    """Seconds after one fault; None where it hit nothing that had to recover."""

    requeued_s: float | None = None  # until the run is queued again, or another attempt has begun
    resumed_s: float | None = None  # until any run goes on
    count: int = 1  # of faults
    notes: dict[str, float] = field(default_factory=dict)


@dataclass
class Scene:
    """What a fault works on."""

    stack: Stack
    oracle: Oracle
    random: random.Random
    proxy: Proxy | None = None
    lease_s: float = 30.0

    def a_moment(self) -> None:
        """Wait, for no one knows how long."""
        time.sleep(self.random.uniform(0, WAIT_BEFORE_S))

    def until_training(self) -> list[str]:
        """Wait until something is trained; what."""
        until(lambda: bool(self.oracle.running), "a run", RECOVERS_WITHIN_S)
        return self.oracle.running

    def until_life(self, since: float, before: dict[str, tuple[str, int, int]]) -> float:
        """Wait until a run has gone on from these signs of life; seconds since the fault."""

        def goes_on() -> bool:
            after = self.oracle.signs_of_life()
            return any(after.get(i, ("", 0, 0))[2] > key[2] or i not in after for i, key in before.items()) or any(
                i not in before and key[2] > 0 for i, key in after.items()
            )

        until(goes_on, "a sign of life", RECOVERS_WITHIN_S)
        return time.monotonic() - since

    def until_requeued(self, since: float, victims: dict[str, int]) -> float | None:
        """Wait until each of these runs has left its attempt; seconds since the fault, None where all had ended."""

        def left(experiment_id: str, attempt: int) -> bool:
            seen = self.oracle.runs[experiment_id]
            return seen.status != "running" or seen.attempts > attempt

        until(lambda: all(left(i, a) for i, a in victims.items()), "queued again", RECOVERS_WITHIN_S)
        seconds = time.monotonic() - since
        return seconds if any(self.oracle.runs[i].status not in ENDED for i in victims) else None

    def victims(self, running: list[str]) -> dict[str, int]:
        """These runs and their attempts, as they are now."""
        return {i: self.oracle.runs[i].attempts for i in running if self.oracle.runs[i].status == "running"}


Fault = Callable[[Scene], Recovery]


def kill_trainer(scene: Scene) -> Recovery:
    """`kill -9` of a training process."""
    scene.until_training()
    scene.a_moment()
    victims, before = scene.victims(scene.oracle.running), scene.oracle.signs_of_life()
    (pid,) = scene.random.sample(scene.stack.trainer_pids(), 1)
    began = time.monotonic()
    os.kill(pid, signal.SIGKILL)
    requeued = scene.until_requeued(began, victims) if len(scene.stack.trainer_pids()) <= 1 else None
    return Recovery(requeued, scene.until_life(began, before))


def kill_worker(scene: Scene) -> Recovery:
    """`kill -9` of a worker's parent process; its trainers end with it."""
    return _kill_worker(scene, with_trainers=False)


def kill_worker_and_trainers(scene: Scene) -> Recovery:
    """`kill -9` of a worker's parent and of its trainers, all at once."""
    return _kill_worker(scene, with_trainers=True)


def _kill_worker(scene: Scene, *, with_trainers: bool) -> Recovery:
    scene.until_training()
    scene.a_moment()
    victims, before = scene.victims(scene.oracle.running), scene.oracle.signs_of_life()
    trainers = scene.stack.trainer_pids()
    began = time.monotonic()
    scene.stack.worker.kill()
    for pid in trainers if with_trainers else []:
        _kill(pid)
    until(lambda: not any(_alive(pid) for pid in trainers), "the trainers' end", 10)
    scene.stack.worker.start()
    requeued = scene.until_requeued(began, victims)
    return Recovery(requeued, scene.until_life(began, before))


def stop_worker(scene: Scene) -> Recovery:
    """SIGTERM to a worker under load."""
    scene.until_training()
    scene.a_moment()
    victims, before = scene.victims(scene.oracle.running), scene.oracle.signs_of_life()
    began = time.monotonic()
    seconds = scene.stack.worker.end()
    requeued = scene.until_requeued(began, victims)
    scene.stack.worker.start()
    return Recovery(requeued, scene.until_life(began, before), notes={"ended_s": seconds})


def kill_server(scene: Scene) -> Recovery:
    """`kill -9` of the server, which starts again at once."""
    scene.until_training()
    scene.a_moment()
    before = scene.oracle.signs_of_life()
    scene.stack.server.kill()
    began = time.monotonic()
    scene.stack.server.start()
    scene.stack.until_server_answers()
    return Recovery(resumed_s=scene.until_life(began, before))


def zombie(scene: Scene) -> Recovery:
    """A trainer that is stopped past its lease and then goes on as if nothing had been."""
    scene.until_training()
    scene.a_moment()
    (pid,) = scene.random.sample(scene.stack.trainer_pids(), 1)
    began = time.monotonic()
    os.kill(pid, signal.SIGSTOP)
    at = {i: seen.attempts for i, seen in scene.oracle.runs.items()}
    requeued: float | None = None
    try:
        # Its run is the one whose attempt ends while the others go on; there is none where the trainer was between two.
        until(lambda: _any_lost(scene.oracle, at), "queued again", scene.lease_s + 20)
        requeued = time.monotonic() - began
        time.sleep(scene.random.uniform(0, 1))
    except TimeoutError:
        pass
    finally:
        os.kill(pid, signal.SIGCONT)
    return Recovery(requeued, scene.until_life(began, scene.oracle.signs_of_life()), count=int(requeued is not None))


def _any_lost(oracle: Oracle, attempts_before: dict[str, int]) -> bool:
    for experiment_id, seen in list(oracle.runs.items()):
        claimed_then_or_since = max(attempts_before.get(experiment_id, 0), 1)
        if (seen.status == "queued" and seen.attempts > 0) or seen.attempts > claimed_then_or_since:
            return True
    return False


def duplicate_messages(scene: Scene) -> Recovery:
    """The same message, ten times."""
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
    """Of a run that was just submitted to a busy worker, so that it waits."""
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline:
        waiting = cast("list[bytes]", client.lrange(EXPERIMENTS_QUEUE, 0, 0))
        if waiting:
            return waiting[0]
        time.sleep(0.001)
    return None


def delete_messages(scene: Scene) -> Recovery:
    """All messages that wait, deleted."""
    client = scene.stack.client()
    scene.oracle.submit(SHORTEST)
    with client.pipeline() as pipeline:
        pipeline.llen(EXPERIMENTS_QUEUE)
        pipeline.delete(EXPERIMENTS_QUEUE)
        count = int(pipeline.execute()[0])
    before, began = scene.oracle.signs_of_life(), time.monotonic()
    return Recovery(resumed_s=scene.until_life(began, before), count=count)


def kill_api(scene: Scene) -> Recovery:
    """`kill -9` of the API in the middle of a submission."""
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
    for experiment_id in {*listed, *accepted}:  # an accepted one that is not there will be found lost
        scene.oracle.adopt(experiment_id, name)
    notes = {"answered": float(bool(accepted)), "recorded": float(bool(listed))}
    return Recovery(resumed_s=time.monotonic() - began, notes=notes)


def out_of_memory(scene: Scene) -> Recovery:
    """A server without room for a while."""
    scene.until_training()
    client = scene.stack.client()
    client.config_set("maxmemory", "1mb")
    refused = 0
    for _ in range(scene.random.randint(2, 6)):
        answer = httpx2.post(f"{scene.stack.url}/v1/experiments", json={"model": "baseline"}, timeout=10)
        if answer.status_code == 202:
            scene.oracle.runs[answer.json()["id"]] = _wrong("a full server took a run")
        elif answer.status_code != 503 or "retry-after" not in answer.headers:
            scene.oracle.server_errors += 1
        refused += 1
        time.sleep(0.5)
    if scene.random.random() < OUTLASTS_A_LEASE:
        time.sleep(1.5 * scene.lease_s)
    before, began = scene.oracle.signs_of_life(), time.monotonic()
    client.config_set("maxmemory", "0")
    return Recovery(resumed_s=scene.until_life(began, before), notes={"refused": float(refused)})


def _wrong(why: str) -> Any:
    from tests.chaos.oracle import Seen

    return Seen(next(iter(SPECS)), wrong=[why])


def reset_connections(scene: Scene) -> Recovery:
    """Every connection to the server, reset."""
    assert scene.proxy is not None
    scene.until_training()
    scene.a_moment()
    before, began = scene.oracle.signs_of_life(), time.monotonic()
    scene.proxy.reset()
    return Recovery(resumed_s=scene.until_life(began, before))


def black_hole(scene: Scene) -> Recovery:
    """Every connection to the server goes nowhere, without a word; new ones work."""
    assert scene.proxy is not None
    scene.until_training()
    scene.a_moment()
    before, began = scene.oracle.signs_of_life(), time.monotonic()
    scene.proxy.black_hole()
    return Recovery(resumed_s=scene.until_life(began, before))


def slow_network(scene: Scene) -> Recovery:
    """Every packet takes 300 ms longer for two seconds."""
    assert scene.proxy is not None
    scene.until_training()
    before, began = scene.oracle.signs_of_life(), time.monotonic()
    scene.proxy.delay(0.3, 2.0)
    time.sleep(2.0)
    return Recovery(resumed_s=scene.until_life(began, before))


def nothing(scene: Scene) -> Recovery:
    """A run, and nothing that is done to it."""
    experiment_id = scene.oracle.submit(scene.random.choice(list(SPECS)))
    until(lambda: scene.oracle.runs[experiment_id].status in ENDED, "the end", RECOVERS_WITHIN_S)
    if scene.oracle.runs[experiment_id].attempts != 1:
        scene.oracle.runs[experiment_id].wrong.append("it was delivered early")
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
    """One fault of each kind after the other, in an order that the scene's random numbers give."""

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
