"""Answers in every format."""

import io
import json
import math

import numpy as np
import pytest
from fastapi import Request
from hypothesis import example, given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from pyarrow import parquet

from service.analysis.history import Gradients
from service.routes.encoding import as_csv, as_json, as_npz, as_parquet, json_response, with_etag
from tests.plans import plan_of

VARIABLES = plan_of(model={"kind": "baseline", "depth": 1, "width": 2}).variables[:2]
VALUES = np.array([[1 / 3, 1e-30, 3.4e38], [math.nan, math.inf, 2.5]], np.float32)
GRADIENTS = Gradients(VARIABLES, np.array([4, 5, 6]), VALUES)


def test_json_says_null_for_what_is_not_finite_and_where_it_began() -> None:
    body = json.loads(bytes(as_json(GRADIENTS, "gradient_norm").body))

    assert body["values"][0] == VALUES[0].astype(float).tolist()
    assert body["values"][1] == [None, None, 2.5]
    assert body["first_nonfinite_step"] == 4
    assert body["steps"] == [4, 5, 6]
    assert body["variables"][0]["name"] == "dense_0/kernel"


def test_csv_keeps_every_float32_exactly() -> None:
    lines = bytes(as_csv(GRADIENTS).body).decode().splitlines()

    assert lines[0] == "step,dense_0/kernel,dense_0/bias"
    read = np.array([line.split(",") for line in lines[1:]], float)
    np.testing.assert_array_equal(read[:, 0], [4, 5, 6])
    np.testing.assert_array_equal(read[:, 1:].T.astype(np.float32), VALUES)


# All bit patterns alike, for among the numbers that Hypothesis likes to draw few need all of their nine digits.
ANY_BITS = np.random.default_rng(0).integers(0, 2**32, (2, 500), np.uint32).view(np.float32)


@given(arrays(np.float32, st.tuples(st.just(2), st.integers(0, 20)), elements=st.floats(width=32)))
@example(ANY_BITS)
def test_no_table_loses_a_bit_of_any_float32(values: "np.ndarray[tuple[int, int], np.dtype[np.float32]]") -> None:
    steps = np.arange(values.shape[1])
    gradients = Gradients(VARIABLES, steps, values)

    rows = [line.split(",") for line in bytes(as_csv(gradients).body).decode().splitlines()[1:]]
    from_csv = np.array(rows, float).reshape(-1, 3)[:, 1:].T.astype(np.float32)
    from_npz = np.load(io.BytesIO(bytes(as_npz(gradients).body)), allow_pickle=False)["values"]
    from_json = json.loads(bytes(as_json(gradients, "gradient_norm").body))["values"]

    np.testing.assert_array_equal(from_csv, values)
    np.testing.assert_array_equal(from_npz, values)
    shown = [[np.float32(value) if value is not None else None for value in row] for row in from_json]
    assert shown == [[value if np.isfinite(value) else None for value in row] for row in values]


def test_npz_and_parquet_hold_the_same_numbers() -> None:
    arrays = np.load(io.BytesIO(bytes(as_npz(GRADIENTS).body)), allow_pickle=False)
    table = parquet.read_table(io.BytesIO(bytes(as_parquet(GRADIENTS).body)))

    np.testing.assert_array_equal(arrays["values"], VALUES)
    assert arrays["names"].tolist() == ["dense_0/kernel", "dense_0/bias"]
    np.testing.assert_array_equal(table["step"], [4, 5, 6])
    np.testing.assert_array_equal(table["dense_0/bias"].to_numpy(), VALUES[1])


def test_tables_of_no_variables_still_name_the_steps() -> None:
    nothing = GRADIENTS.select("gamma", "*")

    assert bytes(as_csv(nothing).body) == b"step\n4\n5\n6\n"
    assert parquet.read_table(io.BytesIO(bytes(as_parquet(nothing).body))).column_names == ["step"]
    assert np.load(io.BytesIO(bytes(as_npz(nothing).body)))["values"].shape == (0, 3)


def _request(if_none_match: str | None) -> Request:
    headers = [] if if_none_match is None else [(b"if-none-match", if_none_match.encode())]
    return Request({"type": "http", "headers": headers})


ETAG = str(with_etag(_request(None), json_response({"a": 1})).headers["etag"])


def test_an_etag_is_strong_and_says_what_the_body_is() -> None:
    assert ETAG.startswith('"')
    assert ETAG.endswith('"')
    assert with_etag(_request(None), json_response({"a": 1})).headers["etag"] == ETAG
    assert with_etag(_request(None), json_response({"a": 2})).headers["etag"] != ETAG


@pytest.mark.parametrize("known", [ETAG, f"W/{ETAG}", f'"other", {ETAG}', f'{ETAG},"other"', "*"])
def test_who_has_it_already_gets_304_with_the_etag_and_no_body(known: str) -> None:
    answer = with_etag(_request(known), json_response({"a": 1}))

    assert (answer.status_code, answer.headers["etag"], answer.body) == (304, ETAG, b"")


@pytest.mark.parametrize("known", [None, "", '"other"', ETAG.strip('"')])
def test_who_has_another_one_gets_the_body(known: str | None) -> None:
    answer = with_etag(_request(known), json_response({"a": 1}))

    assert (answer.status_code, answer.body) == (200, b'{"a":1}')
