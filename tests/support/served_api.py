"""The API on its own HTTP server, and histories as a worker would write them."""

import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import httpx2
import numpy as np
import numpy.typing as npt
import uvicorn

from service.api.composition import Stores, compose
from service.api.settings import ApiSettings
from service.application.submission import Publisher
from service.contract.errors import StoreUnavailable
from service.contract.history_format import EPOCHS, STEP_LOSS, HistoryChunk, Piece, value_format
from service.contract.plan import Plan, plan
from service.contract.record import Outcome
from service.contract.recording_spec import Statistic
from service.contract.workload import Limits
from service.store.attempts import Attempts
from service.store.datasets import Datasets
from service.store.experiments import Experiments
from service.store.keys import Keys
from service.store.settings import LeaseSettings
from tests.support.claims import claim_run

PROBLEM = "application/problem+json"
JSON = {"content-type": "application/json"}

Rows = npt.NDArray[np.float64]  # [recorded steps, columns]


def attempts_of(store: Experiments) -> Attempts:
    """The attempts of the same Redis."""
    return Attempts(store.client)


@dataclass
class RecordedMessages:
    """A queue that records the published ids; while `away` is true, it does not answer."""

    ids: list[str] = field(default_factory=list)
    away: bool = False

    def publish(self, experiment_id: str) -> None:
        if self.away:
            raise StoreUnavailable("the queue does not answer")
        self.ids.append(experiment_id)

    def publish_many(self, experiment_ids: Sequence[str]) -> None:
        for experiment_id in experiment_ids:
            self.publish(experiment_id)


@contextmanager
def served(
    store: Experiments,
    datasets: Datasets,
    queue: Publisher,
    settings: ApiSettings | None = None,
    clock: Callable[[], float] = time.monotonic,
) -> Iterator[httpx2.Client]:
    """A client of the API on its own server; `clock` is the clock of key caching, admission and rate limits."""
    settings = settings or ApiSettings()
    leases = LeaseSettings()
    stores = replace(
        Stores.over(store.client, leases), experiments=store, datasets=datasets, keys=Keys(store.client, clock)
    )
    app = compose(stores, queue, settings, leases, Limits(), sweeps=False, clock=clock)
    server = _Server(uvicorn.Config(app, log_level="error", timeout_graceful_shutdown=1))
    # With the protocol named, asyncio switches Nagle's algorithm off; otherwise each answer waits 40 ms for an
    # acknowledgement.
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP) as listener:
        listener.bind(("127.0.0.1", 0))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        try:
            with httpx2.Client(base_url=f"http://127.0.0.1:{listener.getsockname()[1]}") as http:
                server.ready.wait()
                yield http
        finally:
            server.should_exit = True
            thread.join()


class _Server(uvicorn.Server):
    """A server that sets `ready` once it accepts connections, or has failed to start."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.ready = threading.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        try:
            await super().startup(sockets)
        finally:
            self.ready.set()


def submit(api: httpx2.Client, **spec: Any) -> str:
    """Submit an experiment and return its id."""
    answer = api.post("/v1/experiments", json={"model": "baseline", **spec})
    assert answer.status_code == 202, answer.text
    experiment_id: str = answer.json()["id"]
    return experiment_id


def problem(answer: httpx2.Response, status: int) -> dict[str, Any]:
    """Return the body of an answer that must be a problem with this status."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == PROBLEM
    body: dict[str, Any] = answer.json()
    assert body["status"] == status
    assert body["title"]
    return body


def counted(rows: int, columns: int) -> Rows:
    """Return the values 0, 1, 2, … in the order of the rows."""
    return np.arange(rows * columns, dtype=np.float64).reshape(rows, columns)


def write(
    store: Experiments,
    experiment_id: str,
    steps: int,
    *,
    make: Callable[[Plan, Statistic, int], Rows] | None = None,
    epochs: Rows | None = None,
    outcome: Mapping[str, float] | None = None,
) -> int:
    """Claim a queued run, write its first `steps` steps and these epochs, and return the number of the attempt.

    The values of every recorded statistic are those of `make`, by default `counted`; the loss falls from 1 to 0.
    """
    attempt = claim_run(attempts_of(store), experiment_id, "cpu")
    assert attempt is not None
    record = store.get(experiment_id)
    planned = plan(record.spec, record.shape)
    values = value_format(record.spec.training.precision)
    rows = -(-steps // record.spec.recording.every)

    def recorded(statistic: Statistic) -> Rows:
        made = make(planned, statistic, rows) if make else counted(rows, len(planned.rows_of(statistic)))
        assert made.shape == (rows, len(planned.rows_of(statistic)))
        return made

    series: dict[str, Rows] = {statistic.value: recorded(statistic) for statistic in planned.recorded}
    series[STEP_LOSS] = np.linspace(1, 0, steps)
    if epochs is not None:
        series[EPOCHS] = epochs
    pieces = tuple(Piece(name, 0, rows.astype(values).tobytes()) for name, rows in series.items())
    chunk = HistoryChunk(0, steps, 0 if epochs is None else len(epochs), pieces)
    attempts_of(store).append(experiment_id, attempt, chunk, Outcome.model_validate(outcome or {}))
    return attempt
