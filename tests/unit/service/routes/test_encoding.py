"""Answers in every format."""

import io
import json
import math

import numpy as np
from pyarrow import parquet

from service.analysis.history import Gradients
from service.contract.spec import Baseline
from service.contract.workload import DataShape, trainable_variables
from service.routes.encoding import as_csv, as_json, as_npz, as_parquet

VARIABLES = trainable_variables(Baseline(depth=1, width=2), DataShape(10, 3, 2))[:2]
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


def test_npz_and_parquet_hold_the_same_numbers() -> None:
    arrays = np.load(io.BytesIO(bytes(as_npz(GRADIENTS).body)), allow_pickle=False)
    table = parquet.read_table(io.BytesIO(bytes(as_parquet(GRADIENTS).body)))

    np.testing.assert_array_equal(arrays["values"], VALUES)
    assert arrays["names"].tolist() == ["dense_0/kernel", "dense_0/bias"]
    np.testing.assert_array_equal(table["step"], [4, 5, 6])
    np.testing.assert_array_equal(table["dense_0/bias"].to_numpy(), VALUES[1])
