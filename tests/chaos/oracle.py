"""Checks runs by answers over HTTP alone, as a client sees them."""

import hashlib
import json
import threading
import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import httpx2

ENDED = ("succeeded", "failed", "cancelled")
POLL_EVERY_S = 0.05
RETRY_AFTER_S = 0.2

# Short runs of several kinds. Every 20th step is recorded, so that reading a history takes milliseconds.
RECORDING = {"every": 20}
SPECS: dict[str, dict[str, Any]] = {
    "sigmoid, Adam": {
        "model": {"kind": "baseline", "depth": 4, "width": 16},
        "training": {"epochs": 900},
        "recording": RECORDING,
    },
    "batch normalization, AdamW": {
        "model": {"kind": "improved", "depth": 3, "width": 16},
        "training": {"epochs": 600, "optimizer": {"name": "adamw", "weight_decay": 0.01}},
        "recording": RECORDING,
    },
    "dropout, momentum, a graph": {
        "model": {"kind": "mlp", "depth": 3, "width": 32, "dropout": 0.3},
        "training": {
            "epochs": 24,
            "batch_size": 8,
            "optimizer": {"name": "sgd", "momentum": 0.9, "learning_rate": 0.01},
        },
        "recording": {"every": 5, "statistics": ["gradient_norm", "inactive_units"]},
    },
    "real data, a smaller last batch, early stopping": {
        "model": {"kind": "mlp", "depth": 2, "width": 32, "normalization": "batch"},
        "data": {"source": "breast_cancer", "scale": "standard"},
        "training": {
            "epochs": 500,
            "early_stopping": {"monitor": "val_loss", "patience": 400, "restore_best_weights": True},
        },
        "recording": RECORDING,
    },
    "regression in double precision": {
        "model": {"kind": "mlp", "depth": 2, "width": 16, "activation": "tanh"},
        "data": {"source": "diabetes", "scale": "standard"},
        "training": {"epochs": 700, "precision": "float64", "optimizer": "rmsprop"},
        "recording": RECORDING,
    },
}


@dataclass
class Seen:
    """The latest observed state of a run, and what was wrong in earlier states."""

    spec: str
    status: str = "queued"
    attempts: int = 0
    step: int = 0
    wrong: list[str] = field(default_factory=list)

    @property
    def key(self) -> tuple[str, int, int]:
        """A value that changes with any progress."""
        return self.status, self.attempts, self.step


class Oracle:
    """Submits and watches runs, and compares their histories with those of undisturbed runs."""

    def __init__(self, url: str, references: Mapping[str, str]) -> None:
        self._http = httpx2.Client(base_url=url, timeout=40)
        self._watching_http = httpx2.Client(base_url=url, timeout=40)
        self._references = references
        self.runs: dict[str, Seen] = {}
        self.server_errors = 0  # number of answers with status 500, which are always wrong
        self._stopped = threading.Event()
        self._watcher = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> "Oracle":
        self._watcher.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopped.set()
        self._watcher.join()
        self._http.close()
        self._watching_http.close()

    def submit(self, name: str) -> str:
        """Submit a run, repeating the request until it is accepted, and return the id."""
        key = {"Idempotency-Key": uuid.uuid4().hex}  # one run, however often the request is sent
        while True:
            answer = self._answer("POST", "/v1/experiments", json=SPECS[name], headers=key)
            if answer is not None and answer.status_code == 202:
                experiment_id: str = answer.json()["id"]
                self.runs[experiment_id] = Seen(name)
                return experiment_id
            time.sleep(RETRY_AFTER_S)

    def adopt(self, experiment_id: str, name: str) -> None:
        """Watch a run that was submitted by other code."""
        self.runs[experiment_id] = Seen(name)

    def get(self, experiment_id: str) -> dict[str, Any] | None:
        """Return the record of a run; None if the service does not answer, {} if the run does not exist."""
        answer = self._answer("GET", f"/v1/experiments/{experiment_id}")
        if answer is None or answer.status_code not in (200, 404):
            return None
        found: dict[str, Any] = answer.json() if answer.status_code == 200 else {}
        return found

    def listed(self, tag: str) -> list[str] | None:
        """Return the ids of all runs with a tag; None if the service does not answer."""
        answer = self._answer("GET", "/v1/experiments", params={"tag": tag})
        if answer is None or answer.status_code != 200:
            return None
        return [experiment["id"] for experiment in answer.json()["experiments"]]

    @property
    def open(self) -> list[str]:
        """Ids of runs that have not ended, as of their latest observed state."""
        return [i for i, seen in list(self.runs.items()) if seen.status not in ENDED]

    @property
    def running(self) -> list[str]:
        """Ids of running runs, as of their latest observed state."""
        return [i for i, seen in list(self.runs.items()) if seen.status == "running"]

    def progress(self) -> dict[str, tuple[str, int, int]]:
        """Return the progress of every run that has not ended, as `Seen.key`."""
        return {i: seen.key for i, seen in list(self.runs.items()) if seen.status not in ENDED}

    def digest(self, experiment_id: str) -> str:
        """Return the SHA-256 of everything recorded: equal if and only if all values are bitwise equal."""
        parts = []
        statistics = SPECS[self.runs[experiment_id].spec]["recording"].get("statistics", ["gradient_norm"])
        for statistic in statistics:
            answer = self._http.get(
                f"/v1/experiments/{experiment_id}/gradients", params={"role": "all", "statistic": statistic}
            )
            found = answer.raise_for_status().json()
            parts += [found["steps"], found["values"]]
        metrics = self._http.get(f"/v1/experiments/{experiment_id}/metrics").raise_for_status().json()
        outcome = self._http.get(f"/v1/experiments/{experiment_id}").raise_for_status().json()["outcome"]
        return hashlib.sha256(json.dumps([parts, metrics, outcome], sort_keys=True).encode()).hexdigest()

    def verdict(self, experiment_id: str) -> str | None:
        """Return what is wrong with a run that has ended; None if nothing is."""
        seen = self.runs[experiment_id]
        if seen.wrong:
            return "; ".join(seen.wrong)
        record = self.get(experiment_id)
        if not record:
            return "the run is lost"
        if record["status"] != "succeeded":
            return f"its status is {record['status']}: {record['error']}"
        if self._references and self.digest(experiment_id) != self._references[seen.spec]:
            return "its history differs"
        return None

    def _answer(self, method: str, path: str, **options: Any) -> httpx2.Response | None:
        try:
            answer = self._http.request(method, path, **options)
        except httpx2.TransportError:
            return None
        self.server_errors += answer.status_code == 500
        return answer

    def _watch(self) -> None:
        """Read every run that has not ended, in a loop."""
        while not self._stopped.wait(POLL_EVERY_S):
            for experiment_id in self.open:
                try:
                    answer = self._watching_http.get(f"/v1/experiments/{experiment_id}")
                except httpx2.TransportError:
                    break
                self.server_errors += answer.status_code == 500
                if answer.status_code == 404:
                    self.runs[experiment_id].wrong.append("it disappeared")
                    self.runs[experiment_id].status = "failed"
                if answer.status_code == 200:
                    self._observe(self.runs[experiment_id], answer.json())

    @staticmethod
    def _observe(seen: Seen, record: dict[str, Any]) -> None:
        attempts, step = record["attempts"], record["progress"]["step"]
        if attempts < seen.attempts:
            seen.wrong.append(f"attempts went from {seen.attempts} to {attempts}")
        if attempts == seen.attempts and step < seen.step:
            seen.wrong.append(f"attempt {attempts} went from step {seen.step} to {step}")
        seen.attempts, seen.step, seen.status = attempts, step, record["status"]
