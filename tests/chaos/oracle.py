"""What a client sees, and nothing else: every judgment of the chaos suite is made from answers over HTTP."""

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

# Short runs of several kinds; every 20th step is recorded, so that a history is read in milliseconds.
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
    """A run as it was seen last, and what was wrong with the way there."""

    spec: str
    status: str = "queued"
    attempts: int = 0
    step: int = 0
    wrong: list[str] = field(default_factory=list)

    @property
    def key(self) -> tuple[str, int, int]:
        """Changes with every sign of life."""
        return self.status, self.attempts, self.step


class Oracle:
    """Submits runs, watches them, and compares their histories with those of undisturbed runs."""

    def __init__(self, url: str, references: Mapping[str, str]) -> None:
        self._http = httpx2.Client(base_url=url, timeout=40)
        self._watching_http = httpx2.Client(base_url=url, timeout=40)
        self._references = references
        self.runs: dict[str, Seen] = {}
        self.server_errors = 0  # answers of 500: never right
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
        """An accepted run; asks again where there is no answer, or one that says that it cannot be now."""
        key = {"Idempotency-Key": uuid.uuid4().hex}  # one run, however often it is asked for
        while True:
            answer = self._answer("POST", "/v1/experiments", json=SPECS[name], headers=key)
            if answer is not None and answer.status_code == 202:
                experiment_id: str = answer.json()["id"]
                self.runs[experiment_id] = Seen(name)
                return experiment_id
            time.sleep(RETRY_AFTER_S)

    def adopt(self, experiment_id: str, name: str) -> None:
        """Watch a run that was submitted otherwise."""
        self.runs[experiment_id] = Seen(name)

    def get(self, experiment_id: str) -> dict[str, Any] | None:
        """A run's record; None where the service does not answer, and {} where there is no such run."""
        answer = self._answer("GET", f"/v1/experiments/{experiment_id}")
        if answer is None or answer.status_code not in (200, 404):
            return None
        found: dict[str, Any] = answer.json() if answer.status_code == 200 else {}
        return found

    def listed(self, tag: str) -> list[str] | None:
        """Ids of all runs with a tag; None where the service does not answer."""
        answer = self._answer("GET", "/v1/experiments", params={"tag": tag})
        if answer is None or answer.status_code != 200:
            return None
        return [experiment["id"] for experiment in answer.json()["experiments"]]

    @property
    def open(self) -> list[str]:
        """Runs that have not ended, as far as is known."""
        return [i for i, seen in list(self.runs.items()) if seen.status not in ENDED]

    @property
    def running(self) -> list[str]:
        """Runs that are trained, as far as is known."""
        return [i for i, seen in list(self.runs.items()) if seen.status == "running"]

    def signs_of_life(self) -> dict[str, tuple[str, int, int]]:
        """Of every run that has not ended."""
        return {i: seen.key for i, seen in list(self.runs.items()) if seen.status not in ENDED}

    def digest(self, experiment_id: str) -> str:
        """Of everything that was recorded: equal where every number is, to the last bit."""
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
        """What is wrong with a run that has ended; None where nothing is."""
        seen = self.runs[experiment_id]
        if seen.wrong:
            return "; ".join(seen.wrong)
        record = self.get(experiment_id)
        if not record:
            return "it is lost"
        if record["status"] != "succeeded":
            return f"it {record['status']}: {record['error']}"
        if self._references and self.digest(experiment_id) != self._references[seen.spec]:
            return "its history differs"
        return None

    # ---------------------------------------------------------------- within

    def _answer(self, method: str, path: str, **options: Any) -> httpx2.Response | None:
        try:
            answer = self._http.request(method, path, **options)
        except httpx2.TransportError:
            return None
        self.server_errors += answer.status_code == 500
        return answer

    def _watch(self) -> None:
        """Read every run that has not ended, again and again."""
        while not self._stopped.wait(POLL_EVERY_S):
            for experiment_id in self.open:
                try:
                    answer = self._watching_http.get(f"/v1/experiments/{experiment_id}")
                except httpx2.TransportError:
                    break
                self.server_errors += answer.status_code == 500
                if answer.status_code == 404:
                    self.runs[experiment_id].wrong.append("it vanished")
                    self.runs[experiment_id].status = "failed"
                if answer.status_code == 200:
                    self._look(self.runs[experiment_id], answer.json())

    @staticmethod
    def _look(seen: Seen, record: dict[str, Any]) -> None:
        attempts, step = record["attempts"], record["progress"]["step"]
        if attempts < seen.attempts:
            seen.wrong.append(f"attempts went from {seen.attempts} to {attempts}")
        if attempts == seen.attempts and step < seen.step:
            seen.wrong.append(f"attempt {attempts} went from step {seen.step} to {step}")
        seen.attempts, seen.step, seen.status = attempts, step, record["status"]
