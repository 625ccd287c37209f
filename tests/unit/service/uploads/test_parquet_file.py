"""Parquet files: sizes are checked before pyarrow allocates memory, and every error of pyarrow is a BadUpload."""

import io
import subprocess
import sys
import tempfile
from typing import Any, BinaryIO, cast

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from service.contract.errors import BadUpload
from service.uploads.parquet_file import read_parquet
from service.uploads.table import Table, Task, UploadLimits
from service.uploads.thrift import Reader

X = [1.0, 2.0, 3.0, 4.0]
Y = [0, 1, 0, 1]


def _parquet(columns: dict[str, Any] | Any, **options: Any) -> bytes:
    file = io.BytesIO()
    pq.write_table(pa.table(columns), file, **options)
    return file.getvalue()


def _read(content: bytes, label: str | None = None, task: Task = "auto", **limits: Any) -> Table:
    return read_parquet(io.BytesIO(content), label, task, UploadLimits(**limits))


def _refusal(content: bytes, label: str | None = None, task: Task = "auto", **limits: Any) -> str:
    with pytest.raises(BadUpload) as caught:
        _read(content, label, task, **limits)
    return str(caught.value)


@given(
    x=st.sampled_from(["?", "i1", "u2", "i8", "u8", "f2", "f4", "f8"]).flatmap(
        lambda dtype: hnp.arrays(
            dtype,
            hnp.array_shapes(min_dims=2, max_dims=2, min_side=2, max_side=8),
            elements=st.floats(-100, 100, width=16) if "f" in dtype else None,
        )
    ),
    data=st.data(),
    group=st.integers(1, 9),
    compression=st.sampled_from(["none", "snappy", "gzip", "zstd"]),
    version=st.sampled_from(["1.0", "2.0"]),
)
def test_written_values_are_read_back(x: Any, data: st.DataObject, group: int, compression: str, version: str) -> None:
    y = data.draw(hnp.arrays("f8", len(x), elements=st.floats(-1, 1)))
    names = [f"c.{i}" for i in range(x.shape[1])]
    columns = {"y": y} | {name: x[:, i] for i, name in enumerate(names)}
    content = _parquet(columns, row_group_size=group, compression=compression, data_page_version=version)
    table = _read(content, "y", "regression")

    assert table.x.dtype == (np.dtype("<f4") if x.dtype in (np.float32, np.float16) else np.dtype("<f8"))
    assert table.x.flags.c_contiguous
    assert (table.x == x.astype(table.x.dtype)).all()
    assert table.y.tolist() == y.tolist()
    assert (table.columns, table.label) == (tuple(names), "y")


@pytest.mark.parametrize("kind", [pa.string(), pa.large_string(), pa.dictionary(pa.int8(), pa.string())])
def test_text_labels_become_classes(kind: Any) -> None:
    labels = pa.array(["wolf", "ant", "wolf", "ant"], pa.string()).cast(kind)
    table = _read(_parquet({"a": X, "an.imal": labels}, row_group_size=3))

    assert (table.classes, table.y.tolist(), table.label) == (("ant", "wolf"), [1, 0, 1, 0], "an.imal")


def test_true_and_false_are_classes() -> None:
    assert _read(_parquet({"a": X, "y": [True, False, False, True]})).classes == ("false", "true")
    assert _read(_parquet({"a": [True, False] * 2, "y": Y})).x.tolist() == [[1], [0], [1], [0]]


def test_inputs_stay_float32_if_all_columns_are_float32() -> None:
    single = pa.array(X, pa.float32())

    assert _read(_parquet({"a": single, "y": Y})).x.dtype == np.float32
    assert _read(_parquet({"a": single, "b": X, "y": Y})).x.dtype == np.float64


def test_the_reader_does_not_close_the_file() -> None:
    file = io.BytesIO(_parquet({"a": X, "y": Y}))
    read_parquet(file, None, "auto", UploadLimits())

    assert not file.closed


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"a": [1.0, None, 3.0, 4.0], "y": Y}, "row 2 (row group 0), column 'a' is null"),
        ({"a": X, "y": [1, 0, 1, None]}, "row 4 (row group 1), column 'y' is null"),
        ({"a": X, "y": ["a", "b", "a", None]}, "row 4 (row group 1), column 'y' is null"),
        ({"a": X, "y": ["a", "b", "a", ""]}, "row 4 (row group 1), column 'y' is empty"),
        ({"a": [1, 2, 3, np.nan], "y": Y}, "row 4 (row group 1), column 'a' is nan; every value must be finite"),
        ({"a": [1, -np.inf, 3, 4], "y": Y}, "row 2 (row group 0), column 'a' is -inf"),
        ({"a": [1, 2, 3, 1e39], "y": Y}, "row 4 (row group 1), column 'a' is 1e+39, too large for float32"),
        ({"a": X, "y": [0.5, 1, np.nan, 1]}, "row 3 (row group 0), column 'y' is nan"),
        ({"a": [[1.0]] * 4, "y": Y}, "column 'a' has the unsupported type list<"),
        ({"a": [{"b": 1.0}] * 4, "y": Y}, "column 'a' has the unsupported type struct<"),
        ({"a": pa.array([0] * 4, pa.timestamp("s")), "y": Y}, "column 'a' has the unsupported type timestamp["),
        (
            {"a": pa.array(Y).cast(pa.decimal128(20, 1)), "y": Y},
            "column 'a' has the unsupported type decimal128(20, 1)",
        ),
        ({"a": [b"x"] * 4, "y": Y}, "column 'a' has the unsupported type binary"),
        ({"a": [None] * 4, "y": Y}, "column 'a' has the unsupported type null"),
        ({"a": ["x"] * 4, "y": Y}, "column 'a' has text, which is allowed for the label only; the label is 'y'"),
        ({"a": X, "y": pa.array([b"x"] * 4).dictionary_encode()}, "column 'y' has the unsupported type dictionary<"),
        ({"a": X, "y": [1.0, 1, 1, 1]}, "there is only one class"),
        ({"y": Y}, "there is only one column, 'y'"),
        ({"": X, "y": Y}, "column 1 has no name"),
        ({"a": X[:1], "y": Y[:1]}, "the file has 1 rows: at least 2"),
        ({}, "the file has no columns"),
        (pa.table([X, Y, Y], names=["a", "a", "y"]), "column 2: two columns have the name 'a'"),
        ({"a": X, "__index_level_0__": Y}, "the last column, '__index_level_0__', is a pandas index"),
    ],
)
def test_each_error_names_the_place_of_the_fault(columns: Any, message: str) -> None:
    assert _refusal(_parquet(columns, row_group_size=3)).startswith(message)


def test_the_error_names_a_bad_cell_in_row_70000() -> None:
    cells = np.ones(80_000)
    cells[69_999] = np.nan

    assert _refusal(_parquet({"a": cells, "b": cells * 0 + 1, "y": np.arange(80_000) % 2}, row_group_size=50_000)) == (
        "row 70000 (row group 1), column 'a' is nan; every value must be finite"
    )


def test_the_error_about_a_missing_label_column_lists_the_columns() -> None:
    with pytest.raises(BadUpload, match="no column is named 'z'; there are 'a', 'y'") as caught:
        _read(_parquet({"a": X, "y": Y}), "z")

    assert caught.value.location == ("label",)


def test_the_error_names_the_row_of_text_label_1001() -> None:
    content = _parquet({"a": np.ones(3000), "y": [f"n{i}" for i in range(3000)]}, row_group_size=400)

    assert _refusal(content) == (
        "there are more than 1,000 classes; the label at row 1001 (row group 2), column 'y' is one too many"
    )


def test_a_truncated_file_is_refused() -> None:
    content = _parquet({"a": X, "y": Y})
    for length in range(len(content)):
        message = _refusal(content[:length])
        if length >= 4:
            assert message.startswith(f"the footer is missing: the file ends after {length:,} bytes without PAR1")
        else:
            assert "does not begin with PAR1" in message


def test_a_footer_larger_than_the_file_is_refused() -> None:
    content = _parquet({"a": X, "y": Y})

    assert "claims 4,294,967,295 bytes" in _refusal(content[:-8] + b"\xff" * 4 + b"PAR1")
    assert "at most 16,777,216 allowed" in _refusal(b"PAR1" + bytes(2**25) + (2**25).to_bytes(4, "little") + b"PAR1")
    assert "the footer cannot be read" in _refusal(content[:-8] + (7).to_bytes(4, "little") + b"PAR1")


@pytest.mark.parametrize(
    ("limits", "message"),
    [
        ({"rows": 3}, "4 rows, at most 3 allowed"),
        ({"columns": 1}, "2 columns, at most 1 allowed"),
        ({"data_bytes": 95}, "96 bytes, at most 95 allowed"),
    ],
)
def test_limits_are_enforced(limits: dict[str, Any], message: str) -> None:
    content = _parquet({"a": X, "b": X, "y": Y}, write_statistics=False, use_dictionary=False, compression="none")
    _read(content, rows=4, columns=2, data_bytes=200)

    assert message in _refusal(content, **limits)


def test_a_compression_bomb_is_refused_by_the_sizes_in_the_footer() -> None:
    content = _parquet({"a": X, "y": ["a" * 10**7, "b" * 10**7] * 2}, compression="zstd", write_statistics=False)

    assert len(content) < 50_000
    assert "at most 20,000,000 allowed" in _refusal(content, data_bytes=10**7)


def test_a_compression_bomb_with_a_false_footer_is_refused_by_the_sizes_in_its_pages() -> None:
    content = _parquet(
        {"y": Y, "a": [0.0] * 4}, compression="zstd", use_dictionary=False, write_statistics=False, store_schema=False
    )
    column = pq.read_metadata(io.BytesIO(content)).row_group(0).column(1)
    at = column.data_page_offset
    # type DATA_PAGE, then the size unpacked: field 2, i32, zigzag
    assert content[at : at + 3] == bytes([0x15, 0, 0x15])
    size_at, ends = at + 3, at + 3
    while content[ends] >= 128:
        ends += 1
    # The size has one byte, which holds at most 63. The new size has more bytes and moves everything after it.
    claim = _zigzag(2**31 - 1)
    moved = content[:size_at] + claim + content[ends + 1 :]

    message = _refusal(moved)

    assert message.startswith("row group 0, column 'a' ")
    assert "2,147,483," in message


def _zigzag(number: int) -> bytes:
    number, content = 2 * number, bytearray()
    while number > 127:
        content.append(number & 127 | 128)
        number >>= 7
    return bytes([*content, number])


def test_text_in_a_delta_encoding_is_refused() -> None:
    for encoding in ("DELTA_BYTE_ARRAY", "DELTA_LENGTH_BYTE_ARRAY"):
        for version in ("1.0", "2.0"):
            content = _parquet(
                {"a": X, "y": ["a", "b"] * 2},
                use_dictionary=False,
                column_encoding={"y": encoding, "a": "PLAIN"},
                data_page_version=version,
            )
            assert _refusal(content) == (
                "row group 0, column 'y' is text in a delta encoding; write it plain or with a dictionary"
            )


def test_the_error_names_a_damaged_row_group() -> None:
    content = bytearray(
        _parquet({"a": np.arange(9.0), "y": np.arange(9) % 3}, row_group_size=3, write_page_checksum=False)
    )
    column = pq.read_metadata(io.BytesIO(bytes(content))).row_group(2).column(0)
    begin = column.dictionary_page_offset
    content[begin : begin + column.total_compressed_size] = bytes(column.total_compressed_size)

    assert _refusal(bytes(content)).startswith("row group 2, column 'a' has a page")

    content = bytearray(_parquet({"a": np.arange(9.0), "y": np.arange(9) % 3}, row_group_size=3, compression="zstd"))
    column = pq.read_metadata(io.BytesIO(bytes(content))).row_group(1).column(0)
    at = bytes(content).index(b"\x28\xb5\x2f\xfd", column.dictionary_page_offset)
    content[at] ^= 1

    assert _refusal(bytes(content)).startswith("row group 1 cannot be read: ")


def test_no_changed_byte_in_the_footer_ends_the_process() -> None:
    # A column changed from optional to required that keeps the histogram of its definition levels: pyarrow 26 aborts
    # the process on `metadata.row_group(0).column(0)`.
    content = _parquet({"a": X, "y": Y})
    refused = 0
    for at in range(len(content) - 8 - int.from_bytes(content[-8:-4], "little"), len(content) - 8):
        try:
            _read(_changed(content, [(at, content[at] ^ 2)]))
        except BadUpload:
            refused += 1

    assert refused > 100


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"\x15\x02\x05\x02\x04\x00", "field 1 occurs twice"),
        (b"\x1c" * 100, "structs are nested too deeply"),
        (b"\x19" * 100, "lists are nested too deeply"),
        (b"\x19\xf5\xff\xff\xff\xff\x0f", "lists are too long"),
        (b"\x15" + b"\xff" * 20, "a number has more than 64 bits"),
        (b"\x1b\x00", "the type 11 is unknown"),
    ],
)
def test_a_malicious_header_is_refused(content: bytes, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Reader(content, 1000).struct({1: {}})
    assert _refusal(b"PAR1" + content + len(content).to_bytes(4, "little") + b"PAR1").startswith(
        "the footer cannot be read: "
    )


def test_a_spooled_temporary_file_is_read() -> None:
    with tempfile.SpooledTemporaryFile() as file:
        file.write(_parquet({"a": X, "y": Y}))
        assert read_parquet(cast(BinaryIO, file), None, "auto", UploadLimits()).x.tolist() == [[1], [2], [3], [4]]


def test_pyarrow_is_imported_with_the_first_file() -> None:
    program = "import sys, service.uploads.parquet_file; print('pyarrow' in sys.modules)"

    assert subprocess.run([sys.executable, "-c", program], capture_output=True, check=True).stdout == b"False\n"


def test_memory_is_little_more_than_the_values() -> None:
    # tracemalloc does not see the memory of pyarrow, whose own counter has the peak of the whole process.
    program = """
import io, tracemalloc, numpy as np, pyarrow as pa, pyarrow.parquet as pq
from service.uploads.parquet_file import read_parquet
from service.uploads.table import UploadLimits
x = np.random.default_rng(0).normal(size=(200_000, 20))
file = io.BytesIO()
writer = None
for begin in range(0, len(x), 20_000):
    part = pa.table({f"c{i}": x[begin:begin + 20_000, i].copy() for i in range(20)} | {"y": np.arange(20_000) % 2})
    writer = writer or pq.ParquetWriter(file, part.schema)
    writer.write_table(part)
writer.close()
del part, writer
file.seek(0)
before = pa.default_memory_pool().max_memory()
tracemalloc.start()
table = read_parquet(file, None, "auto", UploadLimits())
print(tracemalloc.get_traced_memory()[1] / x.nbytes, pa.default_memory_pool().max_memory() / x.nbytes)
assert (table.x == x).all()
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    python, arrow = map(float, done.stdout.split())

    assert python < 1.5
    assert arrow < 1


VALID = [
    _parquet({"a": X, "b": pa.array(Y, pa.int8()), "y": labels}, row_group_size=3, compression=compression)
    for compression in ("none", "zstd")
    for labels in (Y, ["u", "v", "u", "v"])
]


@given(
    st.one_of(
        st.binary().map(lambda content: b"PAR1" + content + b"PAR1"),
        st.tuples(st.sampled_from(VALID), st.integers(0, 3000)).map(lambda cut: cut[0][: cut[1] % len(cut[0])]),
        st.tuples(
            st.sampled_from(VALID),
            st.lists(st.tuples(st.integers(0, 3000), st.integers(0, 255)), min_size=1, max_size=4),
        ).map(lambda changed: _changed(*changed)),
    )
)
def test_any_bytes_give_a_table_or_an_error(content: bytes) -> None:
    try:
        table = _read(content)
    except BadUpload as error:
        str(error).encode()
        return
    assert np.isfinite(table.x).all()
    assert len(table.x) == len(table.y) >= 2


def _changed(content: bytes, changes: list[tuple[int, int]]) -> bytes:
    changed = bytearray(content)
    for at, byte in changes:
        changed[at % len(changed)] = byte
    return bytes(changed)
