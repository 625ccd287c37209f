"""The time to read a history of a million values over HTTP, compared with `json.dumps` of the same list."""

import http.client
import json
import statistics
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass

import numpy as np

from benchmarks.report.paired import Ratio, ratio, seconds_by_round
from benchmarks.service.serving import HOST, served, valkey
from service.contract.data_shape import shape_of
from service.contract.gradient_norm_layout import GradientNormLayout
from service.contract.history_format import HistoryChunk, Piece
from service.contract.plan import plan
from service.contract.record import Outcome
from service.contract.resolved_spec import ResolvedSpec
from service.contract.spec import ExperimentSpec
from service.store.attempts import Attempts
from service.store.connection import connect
from service.store.experiments import Experiments, NewExperiment
from service.store.ids import new_id
from service.store.settings import RedisSettings

KERNELS = 10
VALUES = 1_000_000
ROUNDS = 15
FORMATS = ("json", "csv", "npz", "parquet")


@dataclass(frozen=True)
class ReadingTime:
    """The median time of a complete answer in one format, in milliseconds, and its ratio to `json.dumps`."""

    format: str
    answer_ms: float
    to_json_dumps: Ratio


def measure(rounds: int = ROUNDS, values: int = VALUES) -> list[ReadingTime]:
    """Measure each format in turns with `json.dumps` of the nested list of values in the JSON answer.

    The time of an answer is from the request to its last byte, on a persistent connection over loopback. The request
    has no parameters but the format, so the answer contains the kernels of a run that has recorded as many biases.

    Args:
        rounds: Number of rounds.
        values: Number of values in an answer.
    """
    with served_history(values) as answers:
        rows = json.loads(answers["json"]())["values"]
        competitors: list[Callable[[], object]] = [lambda: json.dumps(rows), *answers.values()]
        for competitor in competitors:
            competitor()  # triggers the lazy imports
        dumps, *formats = seconds_by_round(competitors, rounds)
    return [
        ReadingTime(name, 1e3 * statistics.median(seconds), ratio(seconds, dumps))
        for name, seconds in zip(FORMATS, formats, strict=True)
    ]


@contextmanager
def served_history(values: int) -> Iterator[dict[str, Callable[[], bytes]]]:
    """Serve a run with this number of kernel norms; yield a function for each format that requests all of them."""
    with valkey() as settings:
        experiment_id = _written(settings, values // KERNELS)
        with served(settings) as (port, _), closing(http.client.HTTPConnection(HOST, port)) as connection:
            path = f"/v1/experiments/{experiment_id}/gradients"
            yield {name: _answer(connection, f"{path}?format={name}") for name in FORMATS}


def _answer(connection: http.client.HTTPConnection, path: str) -> Callable[[], bytes]:
    def answer() -> bytes:
        connection.request("GET", path)
        response = connection.getresponse()
        if response.status != http.client.OK:
            raise RuntimeError(f"{path} answered {response.status}")
        return response.read()

    return answer


def _written(settings: RedisSettings, steps: int) -> str:
    """Write a run with random norms of KERNELS kernels and as many biases at each step; return its id."""
    spec = ExperimentSpec.model_validate(
        {
            "model": {"kind": "baseline", "depth": KERNELS - 1},
            "data": {"source": "random", "samples": 32},
            "training": {"epochs": steps, "validation_split": 0.0},
        }
    ).resolved()
    norms = np.exp(np.random.default_rng(0).normal(-5, 3, (steps, 2 * KERNELS))).astype("<f4")
    with connect(settings) as client:
        store, experiment_id = Experiments(client), new_id()
        planned = plan(spec, shape_of(spec.data))
        work, layout = planned.work.total_steps, GradientNormLayout.of(planned)
        new = NewExperiment(ResolvedSpec.of(spec), planned.shape, (), "", work, layout, 0)
        store.create(experiment_id, new)
        claim = Attempts(client).claim_next("cpu", "benchmark:1")
        if claim is None:
            raise RuntimeError("no other trainer claims here")
        pieces = (Piece("gradient_norm", 0, norms.tobytes()),)
        Attempts(client).append(experiment_id, claim.attempt, HistoryChunk(0, steps, 0, pieces), Outcome())
    return experiment_id
