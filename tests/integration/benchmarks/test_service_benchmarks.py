"""The benchmarks of the service measure what they say; how fast it is, no test asks."""

import pytest

from benchmarks.report.paired import Ratio
from benchmarks.service import reading, submitting
from benchmarks.service.serving import KeptConnection, served, valkey


def _is_one(ratio: Ratio) -> bool:
    return 0 < ratio.lower_quartile <= ratio.median <= ratio.upper_quartile


def test_reading_is_measured_in_every_format() -> None:
    times = reading.measure(rounds=3, values=2_000)

    assert [time.format for time in times] == ["json", "csv", "npz", "parquet"]
    assert all(time.answer_ms > 0 and _is_one(time.to_json_dumps) for time in times)


def test_submissions_are_measured_beside_a_bare_route() -> None:
    times = submitting.measure(rounds=3, posts=2)

    assert times.submission_us > 0
    assert times.bare_us > 0
    assert _is_one(times.submissions_to_bare)


def test_a_refused_request_is_not_taken_for_a_fast_one() -> None:
    with valkey() as settings, served(settings) as (port, _):
        connection = KeptConnection(port)
        assert b'"queued"' in connection.post("/v1/experiments", b'{"model": "baseline"}')
        with pytest.raises(RuntimeError, match="422"):
            connection.post("/v1/experiments", b"{}")
        connection.close()
