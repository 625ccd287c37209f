"""Histories as CSV, NPZ and Parquet, from one block or from many."""

import io
import math
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from pyarrow import parquet

from service.analysis.stored_history import Gradients
from service.api.http import tables
from service.api.http.tables import csv_file, npz_file, parquet_file
from tests.support.plans import plan_of

VARIABLES = plan_of(model={"kind": "baseline", "depth": 1, "width": 2}).variables[:2]
VALUES = np.array([[1 / 3, 1e-30, 3.4e38], [math.nan, math.inf, 2.5]], np.float32)
GRADIENTS = Gradients(VARIABLES, np.array([4, 5, 6]), VALUES)
NOTHING = GRADIENTS.select("gamma", "*")


def _blocks(whole: Gradients, size: int) -> Iterator[Gradients]:
    for first in range(0, max(len(whole.steps), 1), size):
        part = slice(first, first + size)
        yield replace(whole, steps=whole.steps[part], values=whole.values[:, part])


def _csv(whole: Gradients, size: int = 2) -> str:
    return b"".join(csv_file(_blocks(whole, size))).decode()


def _npz(whole: Gradients, size: int = 2) -> dict[str, "np.ndarray[tuple[int, ...], np.dtype[np.float32]]"]:
    file = b"".join(npz_file(_blocks(whole, size), len(whole.steps)))
    return dict(np.load(io.BytesIO(file), allow_pickle=False))


def _parquet(whole: Gradients, size: int = 2) -> parquet.ParquetFile:
    return parquet.ParquetFile(io.BytesIO(b"".join(parquet_file(_blocks(whole, size)))))


def test_csv_has_one_line_per_step_and_writes_nan_and_inf() -> None:
    lines = _csv(GRADIENTS).splitlines()

    assert lines[0] == "step,dense_0/kernel,dense_0/bias"
    assert [line.split(",")[0] for line in lines[1:]] == ["4", "5", "6"]
    assert [line.split(",")[2] for line in lines[1:]] == ["nan", "inf", "2.5"]
    negative = replace(GRADIENTS, values=-VALUES)
    assert [line.split(",")[2] for line in _csv(negative).splitlines()[1:]] == ["nan", "-inf", "-2.5"]


def test_a_name_with_a_comma_or_a_quote_is_quoted() -> None:
    odd = VARIABLES[0].model_copy(update={"name": 'a,"b"/kernel'})

    assert (
        _csv(replace(GRADIENTS, variables=(odd, VARIABLES[1]))).splitlines()[0] == 'step,"a,""b""/kernel",dense_0/bias'
    )


# Uniform bit patterns: few of the numbers that Hypothesis prefers need all nine digits.
ANY_BITS = np.random.default_rng(0).integers(0, 2**32, (2, 500), np.uint32).view(np.float32)


@given(arrays(np.float32, st.tuples(st.just(2), st.integers(0, 20)), elements=st.floats(width=32)), st.integers(1, 30))
@example(ANY_BITS, 77)
def test_every_format_keeps_every_bit_of_float32_values_for_any_block_size(
    values: "np.ndarray[tuple[int, int], np.dtype[np.float32]]", size: int
) -> None:
    steps = np.arange(values.shape[1])
    for lying in (values, np.asfortranarray(values)):
        gradients = Gradients(VARIABLES, steps, lying)

        from_csv = np.array([line.split(",") for line in _csv(gradients, size).splitlines()[1:]], float).reshape(-1, 3)
        from_npz = _npz(gradients, size)
        table = _parquet(gradients, size).read()

        np.testing.assert_array_equal(from_csv[:, 0], steps)
        with np.errstate(invalid="ignore"):  # signaling NaN
            np.testing.assert_array_equal(from_csv[:, 1:].T, values.astype(np.float64))
        np.testing.assert_array_equal(from_npz["values"], values)
        np.testing.assert_array_equal(from_npz["steps"], steps)
        np.testing.assert_array_equal([table[v.name].to_numpy() for v in VARIABLES], values)
        np.testing.assert_array_equal(table["step"], steps)


def test_npz_and_parquet_name_the_variables_and_keep_the_precision() -> None:
    doubles = replace(GRADIENTS, values=VALUES.astype(np.float64) / 3)
    for whole in (GRADIENTS, doubles):
        arrays = _npz(whole)
        table = _parquet(whole).read()

        assert set(arrays) == {"names", "steps", "values"}
        assert arrays["names"].tolist() == ["dense_0/kernel", "dense_0/bias"]
        assert arrays["values"].dtype == table["dense_0/bias"].to_numpy().dtype == whole.values.dtype
        np.testing.assert_array_equal(arrays["values"], whole.values)
        np.testing.assert_array_equal(table["dense_0/bias"].to_numpy(), whole.values[1])


def test_tables_of_no_variables_still_name_the_steps() -> None:
    assert _csv(NOTHING) == "step\n4\n5\n6\n"
    assert _parquet(NOTHING).read().column_names == ["step"]
    assert _npz(NOTHING)["values"].shape == (0, 3)
    assert _npz(NOTHING)["names"].tolist() == []


def test_tables_of_no_steps_still_name_the_variables() -> None:
    empty = replace(GRADIENTS, steps=GRADIENTS.steps[:0], values=VALUES[:, :0])

    assert _csv(empty) == "step,dense_0/kernel,dense_0/bias\n"
    assert _parquet(empty).read().column_names == ["step", "dense_0/kernel", "dense_0/bias"]
    assert _npz(empty)["values"].shape == (2, 0)


def test_small_blocks_are_joined_to_larger_row_groups(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tables, "VALUES_PER_ROW_GROUP", 100)
    whole = Gradients(VARIABLES, np.arange(120), np.zeros((2, 120), np.float32))

    assert _parquet(whole, 10).num_row_groups == 3  # of 50, 50 and 20 steps


def test_a_file_is_written_block_by_block() -> None:
    whole = Gradients(VARIABLES, np.arange(200_000), np.random.default_rng(0).random((2, 200_000)))

    for file in (csv_file(_blocks(whole, 1000)), npz_file(_blocks(whole, 1000), 200_000)):
        sizes = [len(piece) for piece in file]
        assert len(sizes) > 200
        assert max(sizes) < sum(sizes) / 5  # the last piece of an NPZ has the steps
