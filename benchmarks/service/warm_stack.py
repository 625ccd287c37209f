"""A real `gradflow up` with everything loaded, and clocks at its HTTP door."""

import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeAlias

import httpx2

from tests.support.running_stack import RunningStack

Json: TypeAlias = dict[str, Any]
POLL_EVERY_S = 0.005
ENDED = ("succeeded", "failed", "cancelled")


class WarmStack:
    """A stack whose trainers have imported TensorFlow and trained before."""

    def __init__(self, running: RunningStack, http: httpx2.Client) -> None:
        self.running = running
        self._http = http

    def post(self, path: str, body: Json) -> Json:
        """What the service answers, which must take it."""
        answer = self._http.post(path, json=body)
        answer.raise_for_status()
        answered: Json = answer.json()
        return answered

    def get(self, path: str) -> Json:
        """What the service answers."""
        answered: Json = self._http.get(path).raise_for_status().json()
        return answered

    def train(self, spec: Json) -> tuple[float, Json]:
        """Seconds from POST until GET says that the run has succeeded, and the run."""
        return self.until("/v1/experiments", spec, lambda run: run["status"] == "succeeded", POLL_EVERY_S)

    def until_first_step(self, spec: Json) -> float:
        """Seconds from POST until GET shows a stored step; the run is cancelled then, and has ended."""
        seconds, run = self.until("/v1/experiments", spec, lambda run: run["progress"]["step"] > 0, POLL_EVERY_S)
        path = f"/v1/experiments/{run['id']}"
        self.post(f"{path}/cancel", {})
        while self.get(path)["status"] not in ENDED:
            time.sleep(0.05)
        return seconds

    def until(self, path: str, body: Json, done: Callable[[Json], bool], every_s: float) -> tuple[float, Json]:
        """Seconds from POST until GET of what it made is as wanted, and what it is then."""
        began = time.perf_counter()
        found = self.post(path, body)
        while True:
            found = self.get(f"{path}/{found['id']}")
            if done(found):
                return time.perf_counter() - began, found
            if found["status"] in ENDED:
                raise RuntimeError(f"{path}/{found['id']} {found['status']}: {found.get('error')}")
            time.sleep(every_s)


@contextmanager
def warm_stack(trainers: int) -> Iterator[WarmStack]:
    """A stack with so many trainers, ready; it ends with the context."""
    with tempfile.TemporaryDirectory() as directory:
        running = RunningStack(Path(directory), trainers)
        running.start()
        try:
            running.wait_until_ready()
            with httpx2.Client(base_url=running.url, timeout=60) as http:
                stack = WarmStack(running, http)
                while stack.get("/readyz")["trainers"] < trainers:
                    time.sleep(0.1)
                _train_everywhere(stack, trainers)
                yield stack
        finally:
            running.end()


def _train_everywhere(stack: WarmStack, trainers: int) -> None:
    """A small run for each trainer, of networks that nobody asks for later."""
    for depth in range(1, 2 * trainers + 1):
        stack.train({"model": {"kind": "improved", "depth": depth, "width": 7}})
