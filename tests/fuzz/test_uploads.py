"""Damaged and random files are read or refused, in little time and memory."""

import io
from datetime import timedelta
from typing import Any, get_args

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from service.contract.errors import BadUpload
from service.uploads.csv_file import read_csv
from service.uploads.npz_file import read_npz
from service.uploads.parquet_file import read_parquet
from service.uploads.table import Table, Task, UploadLimits
from tests.fuzz.mutations import csv_files, damaged, memory_within, npz_files, parquet_files

LIMITS = UploadLimits(rows=100_000, columns=1_000, data_bytes=2**24)
MAX_MEBIBYTES = 300
TASKS = st.sampled_from(get_args(Task))
LABELS = st.none() | st.sampled_from(["a", "y", "kind"]) | st.text(max_size=5)

unhurried = settings(deadline=timedelta(seconds=5), suppress_health_check=list(HealthCheck))


def sound(table: Table) -> None:
    """Check what training relies on."""
    assert len(table.x) == len(table.y) >= 2
    assert np.isfinite(table.x).all()
    assert table.x.flags.c_contiguous
    assert len(table.x) <= LIMITS.rows
    assert table.x.nbytes + table.y.nbytes <= LIMITS.data_bytes
    if table.classes is None:
        assert np.isfinite(table.y).all()
    else:
        assert 0 <= table.y.min() <= table.y.max() < len(table.classes)
    for name in (table.label, *(table.columns or ()), *(table.classes or ())):
        name.encode()


def sayable(message: str) -> None:
    """Check that the message fits into an answer."""
    message.encode()
    assert len(message) < 3000


def read(reader: Any, content: bytes, *asked: Any) -> None:
    try:
        table = reader(io.BytesIO(content), *asked, LIMITS)
    except BadUpload as error:
        sayable(str(error))
    else:
        sound(table)


@pytest.fixture(scope="module", autouse=True)
def _little_memory() -> Any:
    for reader, files, asked in (
        (read_csv, csv_files(), (None, "auto")),
        (read_npz, npz_files(), ("auto",)),
        (read_parquet, parquet_files(), (None, "auto")),
    ):
        for content in files.values():
            read(reader, content, *asked)  # loads libraries and fills caches
    with memory_within(MAX_MEBIBYTES):
        yield


@given(damaged(csv_files()) | st.binary(max_size=300) | st.text(max_size=200).map(str.encode), LABELS, TASKS)
@unhurried
def test_any_bytes_are_a_csv_file_or_a_bad_upload(content: bytes, label: str | None, task: Task) -> None:
    read(read_csv, content, label, task)


@given(damaged(npz_files()) | st.binary(max_size=300), TASKS)
@unhurried
def test_any_bytes_are_an_npz_file_or_a_bad_upload(content: bytes, task: Task) -> None:
    read(read_npz, content, task)


@given(damaged(parquet_files()) | st.binary(max_size=300).map(lambda b: b"PAR1" + b + b"PAR1"), LABELS, TASKS)
@unhurried
def test_any_bytes_are_a_parquet_file_or_a_bad_upload(content: bytes, label: str | None, task: Task) -> None:
    read(read_parquet, content, label, task)
