"""A peer's side of taking turns: requests and answers are lines of JSON. Knows nothing of gradflow."""

import json
import os
import sys
import time
from collections.abc import Callable
from typing import Any, Protocol, TypeAlias

import numpy as np
import numpy.typing as npt

Json: TypeAlias = dict[str, Any]
Floats: TypeAlias = npt.NDArray[np.floating[Any]]
Figures: TypeAlias = tuple[Floats, Floats, Floats]
"""Loss [steps], correct rows [steps] and gradient norms [steps, variables] of an epoch."""

BATCH_SIZE = 32
ROLES = {"baseline": ("kernel", "bias"), "improved": ("kernel", "bias", "gamma", "beta")}  # of a hidden layer


class Training(Protocol):
    """A preset in training by a peer, which goes on from where it was."""

    rows: int

    def start(self) -> None:
        """Go back to the initial weights."""
        ...

    def epoch(self, order: npt.NDArray[np.int32]) -> Figures:
        """An epoch over these batches [batches, batch size], with every figure of every step brought back to NumPy."""
        ...


def load(path: str) -> tuple[Any, Any, list[Any]]:
    """Inputs [rows, features], labels [rows] and the initial variables from input to output, as gradflow wrote them."""
    with np.load(path) as job:
        variables = [job[name] for name in sorted(job.files) if name.startswith("variable")]
        return job["x"], job["y"], variables


def layers_of(variables: list[Any], roles: tuple[str, ...]) -> list[dict[str, Any]]:
    """Variables by role, layer by layer; the output layer has the first two roles only."""
    starts = range(0, len(variables), len(roles))
    return [dict(zip(roles, variables[start : start + len(roles)], strict=False)) for start in starts]


def serve(answer: Callable[[Json], Json]) -> None:
    """Say that this peer is ready, then answer each request until there are no more."""
    with os.fdopen(os.dup(1), "w", buffering=1) as answers:
        os.dup2(2, 1)  # what a library prints is no answer
        print(json.dumps({"ready": True}), file=answers)
        for line in sys.stdin:
            print(json.dumps(answer(json.loads(line))), file=answers)


def answer(training: Training, request: Json) -> Json:
    """`epochs`: the time of so many. `show`: what the first one gives from the initial weights, unshuffled."""
    if "show" in request:
        training.start()
        losses, _, norms = training.epoch(_batches(np.arange(training.rows)))
        return {"losses": losses.tolist(), "norms": norms.tolist()}
    return timed(lambda: run(training, request["epochs"]))


def run(training: Training, epochs: int) -> None:
    """So many epochs, each in an order of its own."""
    for epoch in range(epochs):
        training.epoch(_batches(np.random.default_rng(epoch).permutation(training.rows)))


def timed(call: Callable[[], object]) -> Json:
    """Seconds of a call, and seconds of all cores that worked on it: the same where there is one thread."""
    began, busy = time.perf_counter(), time.process_time()
    call()
    return {"seconds": time.perf_counter() - began, "core_seconds": time.process_time() - busy}


def _batches(order: npt.NDArray[Any]) -> npt.NDArray[np.int32]:
    return order.astype(np.int32).reshape(-1, BATCH_SIZE)
