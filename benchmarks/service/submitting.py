"""The rate of submissions, compared with a bare FastAPI route that writes once to Redis."""

import itertools
import json
import statistics
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass

from fastapi import FastAPI
from pydantic import BaseModel

from benchmarks.report.paired import Ratio, ratio, seconds_by_round
from benchmarks.service.serving import PersistentConnection, served, valkey
from service.store.connection import connect
from service.store.settings import RedisSettings

CLIENTS = 4
POSTS_PER_CLIENT = 50
ROUNDS = 20


@dataclass(frozen=True)
class SubmissionTimes:
    """Median microseconds per request of both, and the ratio of the rates: submissions per bare request."""

    submission_us: float
    bare_us: float
    submissions_to_bare: Ratio


class Body(BaseModel):
    """The body of a request to the bare route."""

    name: str


def bare_app() -> FastAPI:
    """An application with one route, which validates one field, writes once to Redis, and answers JSON."""
    app, client = FastAPI(), connect(RedisSettings())

    @app.post("/bare")
    def bare(body: Body) -> dict[str, str]:
        client.set("bare", body.name)
        return {"name": body.name}

    return app


def measure(rounds: int = ROUNDS, posts: int = POSTS_PER_CLIENT) -> SubmissionTimes:
    """Measure both under the same load: CLIENTS persistent connections, each with one request at a time.

    Each submission is the preset with a different seed; there is no worker.

    Args:
        rounds: Number of rounds.
        posts: Requests per client and round.
    """
    with valkey() as settings:
        return measure_on(settings, rounds, posts)


def measure_on(settings: RedisSettings, rounds: int, posts: int) -> SubmissionTimes:
    """The same on a given Redis server, which is empty before; one more round warms up."""
    with ExitStack() as stack:
        ours, _ = stack.enter_context(served(settings))
        bare, _ = stack.enter_context(served(settings, f"{__name__}:{bare_app.__name__}"))
        specs = (json.dumps({"model": "baseline", "training": {"seed": seed}}).encode() for seed in itertools.count())
        submissions = _load(stack, ours, "/v1/experiments", specs, posts)
        requests = _load(stack, bare, "/bare", itertools.repeat(b'{"name": "baseline"}'), posts)
        for competitor in (submissions, requests):
            competitor()  # connects and warms up
        submitting, writing = seconds_by_round([submissions, requests], rounds)
    a_request = 1e6 / (CLIENTS * posts)
    return SubmissionTimes(
        a_request * statistics.median(submitting),
        a_request * statistics.median(writing),
        ratio(writing, submitting),
    )


def _load(stack: ExitStack, port: int, path: str, bodies: Iterator[bytes], posts: int) -> Callable[[], object]:
    """A function that sends `posts` requests from each client and waits for all answers."""
    connections = [PersistentConnection(port) for _ in range(CLIENTS)]
    for connection in connections:
        stack.callback(connection.close)
    clients = stack.enter_context(ThreadPoolExecutor(CLIENTS))

    def post_all(connection: PersistentConnection, share: list[bytes]) -> None:
        for body in share:
            connection.post(path, body)

    def round_of_posts() -> None:
        shares = [list(itertools.islice(bodies, posts)) for _ in connections]
        for _ in clients.map(post_all, connections, shares):
            pass  # raises the exception of a client, if there is one

    return round_of_posts
