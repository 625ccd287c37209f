"""The benchmarks of the service measure the work that they claim to measure; no test checks how fast it is."""

import io
import json

import numpy as np
import pyarrow.parquet
import pytest

from benchmarks.service import reading, submitting
from benchmarks.service.serving import PersistentConnection, served, valkey
from service.store.connection import connect
from service.store.experiments import Experiments

STEPS = 200
VALUES = STEPS * reading.KERNELS


def test_the_timed_answers_contain_all_values_in_every_format() -> None:
    with reading.served_history(VALUES) as answers:
        bodies = {name: answer() for name, answer in answers.items()}

    assert list(bodies) == ["json", "csv", "npz", "parquet"]
    assert np.shape(json.loads(bodies["json"])["values"]) == (reading.KERNELS, STEPS)
    header, *lines = bodies["csv"].decode().splitlines()
    assert len(header.split(",")) == 1 + reading.KERNELS
    assert len(lines) == STEPS
    with np.load(io.BytesIO(bodies["npz"])) as arrays:
        assert arrays["values"].shape == (reading.KERNELS, STEPS)
    table = pyarrow.parquet.read_table(io.BytesIO(bodies["parquet"]))
    assert (table.num_rows, table.num_columns) == (STEPS, 1 + reading.KERNELS)


def test_a_hundred_times_as_many_values_take_longer_in_every_format() -> None:
    few, many = (reading.measure(rounds=3, values=values) for values in (VALUES, 100 * VALUES))

    assert [time.format for time in few] == [time.format for time in many] == ["json", "csv", "npz", "parquet"]
    for shorter, longer in zip(few, many, strict=True):
        assert longer.answer_ms > 2 * shorter.answer_ms, longer.format


def test_every_timed_submission_is_a_new_experiment_and_the_bare_route_writes_to_redis() -> None:
    rounds, posts = 3, 2
    with valkey() as settings:
        times = submitting.measure_on(settings, rounds, posts)
        with connect(settings) as client:
            page = Experiments(client).page(status=None, tag=None, limit=200, before=None)
            bare = client.get("bare")

    seeds = {record.spec.training.seed for record in page.records}
    assert len(seeds) == len(page.records) == (rounds + 1) * submitting.CLIENTS * posts
    assert bare == b"baseline"
    # The ratio compares rates, so it is the inverse of the ratio of the times.
    assert times.submissions_to_bare.median == pytest.approx(times.bare_us / times.submission_us, rel=0.8)


def test_a_refused_request_is_an_error_and_not_a_short_time() -> None:
    with valkey() as settings, served(settings) as (port, _):
        connection = PersistentConnection(port)
        assert b'"queued"' in connection.post("/v1/experiments", b'{"model": "baseline"}')
        with pytest.raises(RuntimeError, match="422"):
            connection.post("/v1/experiments", b"{}")
        connection.close()
