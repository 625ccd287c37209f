"""Large histories over HTTP: every format has the same values and is never in memory as a whole."""

import csv
import http.client
import io
import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import numpy as np
import numpy.typing as npt
import pytest
from pyarrow import parquet

from benchmarks.service.serving import HOST, served
from service.application import history_reading
from service.contract.history_format import HistoryChunk, Piece
from service.contract.plan import Plan
from service.contract.record import Outcome, Status, Timing
from service.contract.recording_spec import Statistic
from service.contract.spec import ExperimentSpec
from service.store.attempts import Attempts
from service.store.experiments import Experiments
from service.store.settings import RedisSettings
from tests.support.claims import claim_run
from tests.support.plans import new_experiment
from tests.support.served_api import Rows, attempts_of, problem, submit, write

MODEL = {"kind": "baseline", "depth": 3, "width": 2}  # eight variables, four of them kernels
Doubles = npt.NDArray[np.float64]


def _random(planned: Plan, statistic: Statistic, rows: int) -> Rows:
    """Norms of all magnitudes, and some that are not finite."""
    random = np.random.default_rng(0)
    values: Rows = np.exp(random.normal(-10, 20, (rows, len(planned.rows_of(statistic)))))
    values[random.random(values.shape) < 0.01] = math.nan
    values[random.random(values.shape) < 0.01] = math.inf
    return values


def _finite_as(values: Doubles, nothing: float) -> Doubles:
    return np.where(np.isfinite(values), values, nothing)


def _read(api: httpx2.Client, path: str, **query: str | int) -> bytes:
    answer = api.get(path, params=query)
    assert answer.status_code == 200, answer.text
    return answer.content


@pytest.fixture(params=["one block", "many blocks"])
def blocks(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Histories that are read in one block and in many blocks."""
    if request.param == "many blocks":
        monkeypatch.setattr(history_reading, "BLOCK_BYTES", 1000)


@pytest.mark.usefixtures("blocks")
@pytest.mark.parametrize("precision", ["float32", "float64"])
@pytest.mark.parametrize(
    "query",
    [
        {},
        {"role": "all"},
        {"role": "all", "layer": "dense_1"},
        {"start": 333, "stop": 2222},
        {"max_points": 300},
        {"max_points": 3, "role": "all"},
        {"statistic": "gradient_rms"},
        {"role": "gamma"},
        {"start": 5000},
    ],
)
def test_every_format_has_the_values_of_the_json(
    api: httpx2.Client, store: Experiments, query: dict[str, str | int], precision: str
) -> None:
    experiment_id = submit(api, model=MODEL, training={"precision": precision})
    write(store, experiment_id, 3000, make=_random)
    path = f"/v1/experiments/{experiment_id}/gradients"

    body = json.loads(_read(api, path, **query))
    lines = list(csv.reader(io.StringIO(_read(api, path, format="csv", **query).decode())))
    arrays = np.load(io.BytesIO(_read(api, path, format="npz", **query)), allow_pickle=False)
    table = parquet.read_table(io.BytesIO(_read(api, path, format="parquet", **query)))

    names = [variable["name"] for variable in body["variables"]]
    shape = (len(names), len(body["steps"]))
    values = np.array([[math.nan if x is None else x for x in row] for row in body["values"]], float).reshape(shape)
    from_csv = np.array(lines[1:], float).reshape(len(lines) - 1, len(lines[0])).T
    assert lines[0] == ["step", *names] == table.column_names
    assert arrays["names"].tolist() == names
    assert arrays["values"].dtype == precision
    assert arrays["values"].shape == shape
    for steps in (from_csv[0], arrays["steps"], table["step"].to_numpy()):
        np.testing.assert_array_equal(steps, body["steps"])
    from_parquet = np.array([table[name].to_numpy() for name in names], precision).reshape(shape)
    for found in (from_csv[1:], arrays["values"], from_parquet):
        np.testing.assert_array_equal(found, arrays["values"])  # NaN and infinity differ here; both are null in JSON
        np.testing.assert_array_equal(_finite_as(found.astype(float), math.nan), values)


@pytest.mark.usefixtures("blocks")
def test_a_client_reads_exactly_the_stored_values(api: httpx2.Client, store: Experiments) -> None:
    experiment_id = submit(api, model=MODEL)
    stored: list[Rows] = []

    def make(planned: Plan, statistic: Statistic, rows: int) -> Rows:
        stored.append(_random(planned, statistic, rows))
        return stored[0]

    write(store, experiment_id, 2000, make=make)
    widened = stored[0].astype(np.float32).astype(np.float64).T

    everything = json.loads(_read(api, f"/v1/experiments/{experiment_id}/gradients", role="all"))
    biases = json.loads(_read(api, f"/v1/experiments/{experiment_id}/gradients", role="bias"))

    expected = [[x if math.isfinite(x) else None for x in row] for row in widened.tolist()]
    assert everything["values"] == expected
    assert biases["values"] == expected[1::2]
    broken = np.flatnonzero(~np.isfinite(widened).all(axis=0))
    assert everything["first_nonfinite_step"] == broken[0]


def test_an_etag_changes_while_the_history_grows_and_not_afterwards(
    api: httpx2.Client, store: Experiments, attempts: Attempts
) -> None:
    experiment_id = submit(api, model=MODEL)
    path = f"/v1/experiments/{experiment_id}/gradients"

    def etag(**query: str | int) -> str:
        return str(api.get(path, params=query).headers["etag"])

    empty = etag()
    attempt = write(store, experiment_id, 10)
    ten = etag()
    pieces = (Piece("gradient_norm", 10 * 8 * 4, np.ones(8, "<f4").tobytes()), Piece("step_loss", 40, bytes(4)))
    attempts.append(experiment_id, attempt, HistoryChunk(10, 11, 0, pieces), Outcome())
    eleven = etag()
    assert len({empty, ten, eleven}) == 3
    assert etag(stop=10) == ten
    attempts.finish(experiment_id, attempt, Status.SUCCEEDED, Outcome(), Timing())
    assert etag() == eleven
    queries: list[dict[str, Any]] = [
        {},
        {"role": "bias"},
        {"role": "all"},
        {"layer": "dense_1"},
        {"start": 1},
        {"max_points": 4},
        {"statistic": "gradient_rms"},
    ]
    assert len({etag(**query) for query in queries}) == len(queries)
    assert api.get(path, headers={"if-none-match": eleven}).status_code == 304


def test_deleting_a_run_while_it_is_read_ends_the_connection_with_an_error(
    api: httpx2.Client, store: Experiments, attempts: Attempts
) -> None:
    for form in ("csv", "npz", "parquet", "json"):
        experiment_id = submit(api)
        attempt = write(store, experiment_id, 200_000)  # 19 MB: more than the buffers between server and client hold
        attempts.finish(experiment_id, attempt, Status.SUCCEEDED, Outcome(), Timing())
        path = f"/v1/experiments/{experiment_id}/gradients"

        with api.stream("GET", path, params={"role": "all", "format": form}) as answer:
            assert answer.status_code == 200
            pieces = answer.iter_raw()
            next(pieces)
            store.open(experiment_id).delete()
            if form == "json":  # the whole history was read before the answer began
                assert sum(map(len, pieces)) > 19e6
            else:
                with pytest.raises(httpx2.RemoteProtocolError):
                    list(pieces)
        problem(api.get(path), 404)


# -------------------------------------------------------------------------------------------------- memory

ROWS, COLUMNS = 250_000, 32
STORED_MB = ROWS * COLUMNS * 4 / 1e6  # 32 MB, and five times as much as CSV
MEMORY_MB = {"csv": 20, "npz": 15, "parquet": 40}  # measured: 11, 7 and 23


@pytest.fixture
def long_history(store: Experiments, redis_settings: RedisSettings) -> Iterator[tuple[int, int, str]]:
    """Port and process id of an API, and the path of a history with eight million values."""
    spec = ExperimentSpec.model_validate(
        {
            "model": {"kind": "baseline", "depth": COLUMNS // 2 - 1, "width": 2},
            "training": {"epochs": ROWS, "batch_size": 1000},
        }
    ).resolved()
    store.create("long", new_experiment(spec))
    attempt = claim_run(attempts_of(store), "long", "cpu")
    assert attempt == 1
    norms = np.random.default_rng(0).random((ROWS, COLUMNS), np.float32)
    pieces = (Piece("gradient_norm", 0, norms.tobytes()),)
    attempts_of(store).append("long", attempt, HistoryChunk(0, ROWS, 0, pieces), Outcome())
    with served(redis_settings) as (port, process):
        yield port, process, "/v1/experiments/long/gradients?role=all"


def _peak_mb(process: int) -> float:
    for line in Path(f"/proc/{process}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024 / 1e6
    raise AssertionError("the kernel tells no peak")


def _drained(port: int, path: str) -> int:
    """Read an answer without keeping it; return its size in bytes."""
    connection = http.client.HTTPConnection(HOST, port)
    connection.request("GET", path)
    answer = connection.getresponse()
    assert answer.status == 200
    size = 0
    while piece := answer.read(2**20):
        size += len(piece)
    connection.close()
    return size


def test_the_api_never_holds_a_long_history_in_memory_while_it_sends_a_file(long_history: tuple[int, int, str]) -> None:
    port, process, path = long_history
    for form, max_mb in MEMORY_MB.items():
        _drained(port, f"{path}&format={form}&stop=1000")  # makes lazy imports
        Path(f"/proc/{process}/clear_refs").write_text("5")  # resets the peak
        before = _peak_mb(process)

        size = _drained(port, f"{path}&format={form}")

        assert size > 0.8e6 * STORED_MB
        assert _peak_mb(process) - before < max_mb, form


def test_json_takes_no_more_memory_than_the_history(long_history: tuple[int, int, str]) -> None:
    port, process, path = long_history
    _drained(port, f"{path}&stop=1000")
    before = _peak_mb(process)

    size = _drained(port, path)

    assert size > 4e6 * STORED_MB
    assert _peak_mb(process) - before < STORED_MB + 15  # measured: 6 in addition to the history
