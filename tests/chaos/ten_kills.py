"""A run of several minutes whose trainer is killed ten times: how many steps are computed more than once."""

import os
import random
import signal
import time
from pathlib import Path
from typing import Any

import httpx2

from tests.chaos.processes import Stack, until

KILLS = 10
STEPS = 900_000
SPEC: dict[str, Any] = {
    "model": "baseline",
    "training": {"epochs": STEPS // 25, "validation_split": 0.2},
    "recording": {"every": 100},
}
UNWRITTEN_S = 0.2 + 1.0  # computed steps are written at the latest after a writing interval and a chunk


def measure(directory: Path, seed: int) -> dict[str, Any]:
    """Train the run with default settings, after an undisturbed run on the same stack; return the measurements."""
    chance = random.Random(seed)
    stack = Stack(directory)
    stack.start()
    try:
        with httpx2.Client(base_url=stack.url, timeout=60) as http:
            calm = _submitted(http)
            until(lambda: _get(http, calm)["status"] == "succeeded", "the undisturbed run", 1800)
            undisturbed_s = _get(http, calm)["timing"]["train_s"]
            run = _submitted(http)
            for _ in range(KILLS):
                until(lambda: _trains(http, run), "the run", 300)
                time.sleep(chance.uniform(0, 2 * undisturbed_s / (KILLS + 1)))
                if _get(http, run)["status"] != "running":
                    break
                os.kill(stack.trainer_pids()[0], signal.SIGKILL)
                attempts = _get(http, run)["attempts"]
                until(lambda: _get(http, run)["attempts"] > attempts, "the next attempt", 300)  # noqa: B023
            until(lambda: _get(http, run)["status"] == "succeeded", "the end", 1800)
            record = _get(http, run)
            same = _history(http, run) == _history(http, calm)
    finally:
        stack.stop()
    kills, timing = record["attempts"] - 1, record["timing"]
    steps, a_second = record["progress"]["step"], record["progress"]["step"] / undisturbed_s
    made = steps + timing["repeated_steps"] + kills * UNWRITTEN_S * a_second
    return {
        "seed": seed,
        "steps": steps,
        "kills": kills,
        "repeated_steps": timing["repeated_steps"],
        "ratio": made / steps,
        "undisturbed_s": undisturbed_s,
        "resume_s": timing["resume_s"],
        "same": same,
    }


def _submitted(http: httpx2.Client) -> str:
    experiment_id: str = http.post("/v1/experiments", json=SPEC).raise_for_status().json()["id"]
    return experiment_id


def _get(http: httpx2.Client, experiment_id: str) -> dict[str, Any]:
    record: dict[str, Any] = http.get(f"/v1/experiments/{experiment_id}").raise_for_status().json()
    return record


def _trains(http: httpx2.Client, experiment_id: str) -> bool:
    record = _get(http, experiment_id)
    return record["status"] == "succeeded" or bool(record["status"] == "running" and record["progress"]["step"])


def _history(http: httpx2.Client, experiment_id: str) -> list[Any]:
    found = (
        http.get(f"/v1/experiments/{experiment_id}/{part}", params={"role": "all"}) for part in ("gradients", "metrics")
    )
    return [answer.raise_for_status().json() for answer in found]
