"""A warmed-up `gradflow up`, and times measured over HTTP."""

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
    """A stack whose trainers have imported TensorFlow and trained a run."""

    def __init__(self, running: RunningStack, http: httpx2.Client) -> None:
        self.running = running
        self._http = http

    def post(self, path: str, body: Json) -> Json:
        """Post a body and return the answer; raise an error if the service refuses it."""
        answer = self._http.post(path, json=body)
        answer.raise_for_status()
        answered: Json = answer.json()
        return answered

    def get(self, path: str) -> Json:
        """Return the answer of the service."""
        answered: Json = self._http.get(path).raise_for_status().json()
        return answered

    def train(self, spec: Json) -> tuple[float, Json]:
        """Return the seconds from POST until GET returns the status succeeded, and the experiment."""
        return self.until("/v1/experiments", spec, lambda run: run["status"] == "succeeded", POLL_EVERY_S)

    def until_first_step(self, spec: Json) -> float:
        """Return the seconds from POST until GET shows a stored step; then cancel the run and wait for its end."""
        seconds, run = self.until("/v1/experiments", spec, lambda run: run["progress"]["step"] > 0, POLL_EVERY_S)
        path = f"/v1/experiments/{run['id']}"
        self.post(f"{path}/cancel", {})
        while self.get(path)["status"] not in ENDED:
            time.sleep(0.05)
        return seconds

    def until(self, path: str, body: Json, done: Callable[[Json], bool], every_s: float) -> tuple[float, Json]:
        """Return the seconds from POST until `done` accepts the created object, and the object.

        Args:
            path: Path of the collection, which POST extends.
            body: Body of the POST.
            done: Whether the object has reached the awaited state.
            every_s: Seconds between two polls.

        Raises:
            RuntimeError: The object has ended in another state.
        """
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
    """A warmed-up stack with this number of trainers; it stops when the context ends."""
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
    """Train small networks until each trainer has trained one; no benchmark uses these networks."""
    for depth in range(1, 2 * trainers + 1):
        stack.train({"model": {"kind": "improved", "depth": depth, "width": 7}})
