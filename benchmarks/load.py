"""Many clients at once: one submission for each key, however often it is sent, and readers while a study runs."""

import itertools
import statistics
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import httpx2

from benchmarks.page import Part, table
from tests.running_stack import RunningStack

KEYS, TIMES = 1_000, 10
CLIENTS = 32
POLLERS, EVENT_READERS, SECONDS = 200, 50, 60.0
POLL_EVERY_S = 1.0
STUDY = {  # that takes longer than a minute
    "base": {"model": "baseline", "training": {"epochs": 80}},
    "axes": {"model.depth": [4, 8, 12, 16], "training.seed": list(range(50))},
}
SMALL = {"model": {"kind": "baseline", "depth": 1, "width": 2}, "training": {"epochs": 1}}


def measure() -> Part:
    """On a stack of their own, with two trainers at work."""
    with TemporaryDirectory() as directory:
        stack = RunningStack(Path(directory), workers=2)
        stack.start()
        try:
            stack.wait_until_ready()
            rows = [_submit(stack.url), _read(stack.url)]
        finally:
            stack.end()
    return Part([], table(("who", "answers", "p50", "p99", "longest", "besides"), rows))


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
        made = sum(1 for _ in _all(http))
    most = max(len(found) for found in ids.values())
    who = f"{KEYS:,} `Idempotency-Key`s, each sent {TIMES} times, {CLIENTS} clients at a time"
    return who, _counts(statuses), *_times(times), f"{made:,} experiments made, at most {most} for a key"


def _all(http: httpx2.Client) -> "itertools.chain[object]":
    pages, cursor = [], None
    while True:
        query = {"limit": 200} | ({"cursor": cursor} if cursor else {})
        page = http.get("/v1/experiments", params=query).json()
        pages.append(page["experiments"])
        cursor = page["next_cursor"]
        if cursor is None:
            return itertools.chain(*pages)


def _read(url: str) -> tuple[str, ...]:
    statuses: Counter[int] = Counter()
    times: list[float] = []
    heard: Counter[str] = Counter()
    until = time.monotonic() + SECONDS
    with httpx2.Client(base_url=url, timeout=60) as http:
        study = http.post("/v1/studies", json=STUDY).raise_for_status().json()
        ids = [
            run["id"]
            for run in http.get("/v1/experiments", params={"study": study["id"], "limit": 200}).json()["experiments"]
        ][::-1]  # the oldest first, as they are trained

    def poll(number: int) -> None:
        time.sleep(POLL_EVERY_S * number / POLLERS)  # people do not ask all in the same moment
        with httpx2.Client(base_url=url, timeout=60) as http:
            paths = (f"/v1/experiments/{ids[number % len(ids)]}", f"/v1/experiments/{ids[number % len(ids)]}/metrics")
            for path in itertools.cycle(paths):
                if time.monotonic() > until:
                    return
                began = time.perf_counter()
                statuses[http.get(path).status_code] += 1
                took = time.perf_counter() - began
                times.append(took)
                time.sleep(max(0.0, POLL_EVERY_S - took))

    def listen(number: int) -> None:
        with httpx2.Client(base_url=url, timeout=httpx2.Timeout(60)) as http:
            for experiment_id in itertools.islice(itertools.cycle(ids), number, None):
                with http.stream("GET", f"/v1/experiments/{experiment_id}/events") as answer:
                    statuses[answer.status_code] += 1
                    for line in answer.iter_lines():
                        if line.startswith("event: "):
                            heard[line] += 1
                        if time.monotonic() > until:
                            return
                if time.monotonic() > until:
                    return

    _at_once([*(partial(poll, n) for n in range(POLLERS)), *(partial(listen, n) for n in range(EVENT_READERS))])
    who = f"{POLLERS} pollers, once in {POLL_EVERY_S:.0f} s each, {EVENT_READERS} readers of events: {SECONDS:.0f} s"
    return who, _counts(statuses), *_times(times), f"{sum(heard.values()):,} events heard"


def _at_once(calls: Sequence[Callable[[], None]]) -> None:
    threads = [threading.Thread(target=call) for call in calls]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def _counts(statuses: Counter[int]) -> str:
    return ", ".join(f"{count:,} × {status}" for status, count in sorted(statuses.items()))


def _times(seconds: Sequence[float]) -> list[str]:
    """p50, p99 and the longest."""
    return [f"{1000 * _quantile(seconds, q):.0f} ms" for q in (0.5, 0.99, 1.0)]


def _quantile(values: Sequence[float], q: float) -> float:
    return max(values) if q == 1.0 else statistics.quantiles(values, n=1000)[int(1000 * q) - 1]
