"""Many simultaneous clients: repeated submissions with idempotency keys, and readers while a study runs."""

import asyncio
import itertools
import statistics
import time
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Self

import httpx2

from benchmarks.report.page import Part, table
from tests.support.running_stack import RunningStack

KEYS, TIMES = 1_000, 10
CLIENTS = 32
POLLERS, EVENT_READERS, SECONDS = 200, 50, 60.0
POLL_EVERY_S = 1.0
STUDY = {  # takes longer than a minute
    "base": {"model": "baseline", "training": {"epochs": 80}},
    "axes": {"model.depth": [4, 8, 12, 16], "training.seed": list(range(50))},
}
SMALL = {"model": {"kind": "baseline", "depth": 1, "width": 2}, "training": {"epochs": 1}}


def measure() -> Part:
    """Measure both on one stack with two trainers."""
    with TemporaryDirectory() as directory:
        stack = RunningStack(Path(directory), workers=2)
        stack.start()
        try:
            stack.wait_until_ready()
            rows = [_submit(stack.url), _read(stack.url)]
        finally:
            stack.end()
    return Part([], table(("clients", "answers", "p50", "p99", "longest", "also"), rows))


def _submit(url: str) -> tuple[str, ...]:
    keys = [f"key-{number}" for number in range(KEYS)] * TIMES
    ids: dict[str, set[str]] = {}
    statuses: Counter[int] = Counter()
    with httpx2.Client(base_url=url, timeout=60, limits=httpx2.Limits(max_connections=CLIENTS)) as http:

        def post(key: str) -> float:
            began = time.perf_counter()
            answer = http.post("/v1/experiments", json=SMALL, headers={"Idempotency-Key": key})
            statuses[answer.status_code] += 1
            if answer.status_code == 202:
                ids.setdefault(key, set()).add(answer.json()["id"])
            return time.perf_counter() - began

        with ThreadPoolExecutor(CLIENTS) as clients:
            times = list(clients.map(post, keys))
        created = sum(1 for _ in _all_experiments(http))
    largest = max(len(found) for found in ids.values())
    client_text = f"{KEYS:,} `Idempotency-Key`s, each sent {TIMES} times, {CLIENTS} clients at a time"
    return client_text, _counts(statuses), *_times(times), f"{created:,} experiments created, at most {largest} per key"


def _all_experiments(http: httpx2.Client) -> "itertools.chain[object]":
    pages, cursor = [], None
    while True:
        query = {"limit": 200} | ({"cursor": cursor} if cursor else {})
        page = http.get("/v1/experiments", params=query).json()
        pages.append(page["experiments"])
        cursor = page["next_cursor"]
        if cursor is None:
            return itertools.chain(*pages)


def _read(url: str) -> tuple[str, ...]:
    with httpx2.Client(base_url=url, timeout=60) as http:
        study = http.post("/v1/studies", json=STUDY).raise_for_status().json()
        listed = http.get("/v1/experiments", params={"study": study["id"], "limit": 200}).json()
    ids = [run["id"] for run in listed["experiments"]][::-1]  # the oldest first, in the order of training
    read = asyncio.run(_Readers(url, ids).read())
    each = f"one request per {POLL_EVERY_S:.0f} s each"
    client_text = f"{POLLERS} pollers, {each}, and {EVENT_READERS} readers of events, for {SECONDS:.0f} s"
    return client_text, _counts(read.statuses), *_times(read.seconds), f"{read.events:,} events received"


class _Readers:
    """Clients that poll runs, and clients that read events; all in one thread, so that no thread waits for another."""

    def __init__(self, url: str, ids: Sequence[str]) -> None:
        connections = httpx2.Limits(max_connections=POLLERS + EVENT_READERS, max_keepalive_connections=None)
        self._http = httpx2.AsyncClient(base_url=url, timeout=60, limits=connections)
        self._ids = ids
        self._until = time.monotonic() + SECONDS
        self.statuses: Counter[int] = Counter()
        self.seconds: list[float] = []
        self.events = 0

    async def read(self) -> Self:
        """Poll and read for SECONDS seconds."""
        async with self._http:
            pollers = [self._poll(number) for number in range(POLLERS)]
            await asyncio.gather(*pollers, *(self._listen(number) for number in range(EVENT_READERS)))
        return self

    async def _poll(self, number: int) -> None:
        await asyncio.sleep(POLL_EVERY_S * number / POLLERS)  # spreads the clients over the interval
        experiment = f"/v1/experiments/{self._ids[number % len(self._ids)]}"
        for path in itertools.cycle((experiment, f"{experiment}/metrics")):
            if time.monotonic() > self._until:
                return
            began = time.perf_counter()
            self.statuses[(await self._http.get(path)).status_code] += 1
            took = time.perf_counter() - began
            self.seconds.append(took)
            await asyncio.sleep(max(0.0, POLL_EVERY_S - took))

    async def _listen(self, number: int) -> None:
        for experiment_id in itertools.islice(itertools.cycle(self._ids), number, None):
            async with self._http.stream("GET", f"/v1/experiments/{experiment_id}/events") as answer:
                self.statuses[answer.status_code] += 1
                async for line in answer.aiter_lines():
                    self.events += line.startswith("event: ")
                    if time.monotonic() > self._until:
                        return
            if time.monotonic() > self._until:
                return


def _counts(statuses: Counter[int]) -> str:
    return ", ".join(f"{count:,} × {status}" for status, count in sorted(statuses.items()))


def _times(seconds: Sequence[float]) -> list[str]:
    """The median, the 99th percentile and the maximum."""
    return [f"{1000 * _quantile(seconds, q):.0f} ms" for q in (0.5, 0.99, 1.0)]


def _quantile(values: Sequence[float], q: float) -> float:
    return max(values) if q == 1.0 else statistics.quantiles(values, n=1000)[int(1000 * q) - 1]
