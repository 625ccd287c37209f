"""The protocol of a peer: it reads requests and writes answers as lines of JSON. Imports nothing of gradflow."""

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
EpochValues: TypeAlias = tuple[Floats, Floats, Floats]
"""Loss [steps], number of correct samples [steps] and gradient norms [steps, variables] of an epoch."""

BATCH_SIZE = 32
ROLES = {"baseline": ("kernel", "bias"), "improved": ("kernel", "bias", "gamma", "beta")}  # variables of a hidden layer


class Training(Protocol):
    """The training of a preset by a peer; each epoch continues from the previous one."""

    samples: int

    def start(self) -> None:
        """Return to the initial weights."""
        ...

    def epoch(self, order: npt.NDArray[np.int32]) -> EpochValues:
        """Train one epoch over these batches [batches, batch size]; return the values of every step as NumPy arrays."""
        ...


def load(path: str) -> tuple[Any, Any, list[Any]]:
    """Read inputs [samples, features], labels [samples] and the initial variables from input to output."""
    with np.load(path) as job:
        variables = [job[name] for name in sorted(job.files) if name.startswith("variable")]
        return job["x"], job["y"], variables


def layers_of(variables: list[Any], roles: tuple[str, ...]) -> list[dict[str, Any]]:
    """The variables of each layer by role; the output layer has only the first two roles."""
    starts = range(0, len(variables), len(roles))
    return [dict(zip(roles, variables[start : start + len(roles)], strict=False)) for start in starts]


def serve(answer: Callable[[Json], Json]) -> None:
    """Report that this peer is ready, then answer requests until the input ends."""
    with os.fdopen(os.dup(1), "w", buffering=1) as answers:
        os.dup2(2, 1)  # redirects the output of libraries away from the answers
        print(json.dumps({"ready": True}), file=answers)
        for line in sys.stdin:
            print(json.dumps(answer(json.loads(line))), file=answers)


def answer(training: Training, request: Json) -> Json:
    """The answer to a request.

    `epochs` trains that many epochs and returns the time. `show` trains one unshuffled epoch from the initial weights
    and returns its losses and norms.
    """
    if "show" in request:
        training.start()
        losses, _, norms = training.epoch(_batches(np.arange(training.samples)))
        return {"losses": losses.tolist(), "norms": norms.tolist()}
    return timed(lambda: run(training, request["epochs"]))


def run(training: Training, epochs: int) -> None:
    """Train epochs, each in a different order."""
    for epoch in range(epochs):
        training.epoch(_batches(np.random.default_rng(epoch).permutation(training.samples)))


def timed(call: Callable[[], object]) -> Json:
    """Seconds of a call, and processor seconds summed over cores; both are equal for one thread."""
    began, busy = time.perf_counter(), time.process_time()
    call()
    return {"seconds": time.perf_counter() - began, "core_seconds": time.process_time() - busy}


def _batches(order: npt.NDArray[Any]) -> npt.NDArray[np.int32]:
    return order.astype(np.int32).reshape(-1, BATCH_SIZE)
