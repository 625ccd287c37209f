"""Any path, query and header gets a status that the document declares, and never a 500."""

import io
import json
from urllib.parse import quote

import httpx2
import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from service.store.experiments import Experiments
from tests.support.served_api import submit, write

unhurried = settings(deadline=None, suppress_health_check=list(HealthCheck))
STEPS = 60

INTEGERS = st.integers(-(10**12), 10**12) | st.sampled_from([0, -1, 1, 2, 60, 10**9, 2**40, 2**63, 10**30])
NUMBERS = INTEGERS.map(str) | st.sampled_from(["", "-0", "1.0", "1e3", "nan", "0x10", " 7 ", "9" * 5000, "\u0661"])
TEXTS = st.text(max_size=30) | st.sampled_from(
    ["*", "dense_*", "[", "[!a-", "**" * 90, "\0", "%00", "../x", "\U0001f600"]
)
QUERY = st.fixed_dictionaries(
    {},
    optional={
        "start": NUMBERS,
        "stop": NUMBERS,
        "max_points": NUMBERS,
        "layer": TEXTS,
        "role": st.sampled_from(["kernel", "all", "bias", "gamma", "none"]) | TEXTS,
        "statistic": st.sampled_from(["gradient_norm", "gradient_rms", "dead_fraction", "nix"]) | TEXTS,
        "format": st.sampled_from(["json", "csv", "npz", "parquet", "xml"]),
        "limit": NUMBERS,
        "cursor": TEXTS | st.binary(max_size=30).map(lambda b: b.decode("latin-1")),
        "tag": TEXTS,
        "study": TEXTS,
        "status": st.sampled_from(["queued", "done"]) | TEXTS,
        "steps": st.lists(NUMBERS, max_size=20).map(",".join) | TEXTS,
        "unknown": TEXTS,
    },
)
VALUES = st.binary(max_size=40).map(lambda value: bytes(b for b in value if b >= 32 and b != 127).strip())
HEADERS = st.fixed_dictionaries(
    {},
    optional={
        b"accept": VALUES | st.sampled_from([b"image/png", b"*/*;q=0", b"text/csv, application/json;q=0.1", b",,;"]),
        b"if-none-match": VALUES | st.sampled_from([b"*", b'""', b'W/"a", "b', b'"' * 30]),
        b"range": VALUES | st.sampled_from([b"bytes=0-0", b"bytes=-1", b"bytes=9-1", b"lines=1-2"]),
        b"accept-encoding": VALUES,
        b"last-event-id": VALUES,
        b"x-forwarded-for": VALUES,
    },
)


@pytest.fixture
def recorded(api: httpx2.Client, store: Experiments) -> str:
    """An experiment with a history."""
    experiment = submit(api, recording={"statistics": ["dead_fraction"]}, model={"kind": "mlp", "depth": 3})
    write(store, experiment, STEPS, epochs=np.ones((1, 4)))
    return experiment


def checked(answer: httpx2.Response) -> None:
    """Check that the status is declared and the body has its content type."""
    assert answer.status_code in (200, 304, 400, 404, 405, 422), answer.text
    media_type = answer.headers.get("content-type", "")
    if answer.status_code >= 400:
        assert media_type == "application/problem+json"
    if "json" in media_type:
        json.loads(answer.content, parse_constant=lambda word: pytest.fail(f"{word} in {answer.url}"))
    elif media_type == "application/zip":
        assert set(np.load(io.BytesIO(answer.content))) == {"names", "steps", "values"}
    elif media_type == "application/vnd.apache.parquet":
        assert pq.read_table(io.BytesIO(answer.content)).column_names[0] == "step"
    elif media_type.startswith("text/csv"):
        assert answer.text.startswith(("step", "replicates", "model"))


PLACES = ["/v1/experiments", "/v1/studies", "/v1/datasets", "/v1/experiments/{}", "/v1/experiments/{}/gradients"]
PLACES += ["/v1/experiments/{}/metrics", "/v1/experiments/{}/model", "/v1/studies/{}", "/v1/datasets/{}"]


@given(st.sampled_from([*PLACES, *["/v1/experiments/{}/gradients"] * 6]), QUERY, HEADERS)
@unhurried
def test_any_query_and_any_header_is_answered(
    api: httpx2.Client, recorded: str, place: str, query: dict[str, str], headers: dict[bytes, bytes]
) -> None:
    checked(api.get(place.format(recorded), params=query, headers=list(headers.items())))


@given(st.sampled_from(PLACES[3:]), TEXTS | st.binary(min_size=1, max_size=30), st.sampled_from(["GET", "PATCH"]))
@unhurried
def test_any_id_is_answered(api: httpx2.Client, place: str, text: str | bytes, method: str) -> None:
    path = place.format(quote(text, safe="") or "x")

    answer = api.request(method, path)

    checked(answer)
    assert answer.status_code in (404, 405) or path.endswith(("/.", "/..", "/./model"))


def test_reading_works_with_the_largest_numbers_of_a_query(api: httpx2.Client, recorded: str) -> None:
    path = f"/v1/experiments/{recorded}/gradients"
    whole = api.get(path).json()

    for query in ({"max_points": 10**9}, {"max_points": "9" * 300}, {"stop": 2**40}, {"start": 0, "stop": 2**40}):
        assert api.get(path, params=query).json()["values"] == whole["values"]
    assert api.get(path, params={"start": 2**40}).json()["steps"] == []
    for bad in ({"start": -1}, {"stop": -1}, {"max_points": 1}, {"start": 2**40 + 1}, {"max_points": "9" * 5000}):
        (error,) = api.get(path, params=bad).json()["errors"]
        assert error["code"] == "schema"
        assert error["location"] == f"query.{next(iter(bad))}"
