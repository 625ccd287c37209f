"""Submissions a second, against a bare FastAPI route that writes once to Redis."""

import itertools
import json
import statistics
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass

from fastapi import FastAPI
from pydantic import BaseModel

from benchmarks.report.paired import Ratio, ratio, rounds_of
from benchmarks.service.serving import KeptConnection, served, valkey
from service.store.connection import connect
from service.store.settings import RedisSettings

CLIENTS = 4
POSTS_A_CLIENT = 50
ROUNDS = 20


@dataclass(frozen=True)
class SubmissionTimes:
    """Medians in microseconds of wall clock a request, and how many submissions there are to one bare request."""

    submission_us: float
    bare_us: float
    submissions_to_bare: Ratio


class Body(BaseModel):
    """What the bare route takes."""

    name: str


def bare_app() -> FastAPI:
    """A body of one field, one Redis write, a JSON answer; a plain function, as the routes of gradflow are."""
    app, client = FastAPI(), connect(RedisSettings())

    @app.post("/bare")
    def bare(body: Body) -> dict[str, str]:
        client.set("bare", body.name)
        return {"name": body.name}

    return app


def measure(rounds: int = ROUNDS, posts: int = POSTS_A_CLIENT) -> SubmissionTimes:
    """Both under the same load on the same settings: CLIENTS connections that are kept, a request at a time on each.

    The submissions are of the preset, each with another seed; no worker takes them.
    """
    with ExitStack() as stack:
        settings = stack.enter_context(valkey())
        ours, _ = stack.enter_context(served(settings))
        bare, _ = stack.enter_context(served(settings, f"{__name__}:{bare_app.__name__}"))
        specs = (json.dumps({"model": "baseline", "training": {"seed": seed}}).encode() for seed in itertools.count())
        submissions = _load(stack, ours, "/v1/experiments", specs, posts)
        requests = _load(stack, bare, "/bare", itertools.repeat(b'{"name": "baseline"}'), posts)
        for rival in (submissions, requests):
            rival()  # connected and warm
        submitting, writing = rounds_of([submissions, requests], rounds)
    a_request = 1e6 / (CLIENTS * posts)
    return SubmissionTimes(
        a_request * statistics.median(submitting),
        a_request * statistics.median(writing),
        ratio(writing, submitting),
    )


def _load(stack: ExitStack, port: int, path: str, bodies: Iterator[bytes], posts: int) -> Callable[[], object]:
    """A round of `posts` requests of each client."""
    connections = [KeptConnection(port) for _ in range(CLIENTS)]
    for connection in connections:
        stack.callback(connection.close)
    clients = stack.enter_context(ThreadPoolExecutor(CLIENTS))

    def post_all(connection: KeptConnection, share: list[bytes]) -> None:
        for body in share:
            connection.post(path, body)

    def round_of_posts() -> None:
        shares = [list(itertools.islice(bodies, posts)) for _ in connections]
        for _ in clients.map(post_all, connections, shares):
            pass  # each has ended well

    return round_of_posts
