"""CSV files: every number is read as written, and every error names row and column."""

import io
import tracemalloc
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.contract.errors import BadUpload
from service.uploads.csv_file import read_csv
from service.uploads.table import Table, Task, UploadLimits

NUMBERS = st.floats(width=32, allow_nan=False, allow_infinity=False)


def _read(text: str | bytes, label: str | None = None, task: Task = "auto", **limits: Any) -> Table:
    content = text.encode() if isinstance(text, str) else text
    return read_csv(io.BytesIO(content), label, task, UploadLimits(**limits))


def _refusal(text: str | bytes, label: str | None = None, task: Task = "auto", **limits: Any) -> str:
    with pytest.raises(BadUpload) as caught:
        _read(text, label, task, **limits)
    assert caught.value.location == ("file",)
    return str(caught.value)


@given(data=st.data(), width=st.integers(1, 5), at=st.integers(0, 5), end=st.sampled_from(["\n", "\r\n"]))
def test_written_values_are_read_back(data: st.DataObject, width: int, at: int, end: str) -> None:
    rows = data.draw(st.lists(st.lists(NUMBERS, min_size=width, max_size=width), min_size=2, max_size=20))
    targets = data.draw(st.lists(NUMBERS, min_size=len(rows), max_size=len(rows)))
    at = min(at, width)
    names = [f"c{i}" for i in range(width)]
    lines = [[*names[:at], "target", *names[at:]]]
    lines += [
        [*map(repr, row[:at]), repr(target), *map(repr, row[at:])] for row, target in zip(rows, targets, strict=True)
    ]
    table = _read(end.join(map(",".join, lines)) + data.draw(st.sampled_from(["", end])), "target", "regression")

    assert table.x.tolist() == rows
    assert table.y.tolist() == targets
    assert (table.columns, table.label, table.task) == (tuple(names), "target", "regression")
    assert table.x.dtype == np.dtype("<f8")
    assert table.x.flags.c_contiguous


def test_the_last_column_is_the_label_unless_another_is_named() -> None:
    text = "a,kind,b\n1,x,0.5\n2,y,1.5\n3,x,2.5\n4,y,3.5\n"

    assert _read(text, "kind").columns == ("a", "b")
    assert _read(text, "kind").classes == ("x", "y")
    with pytest.raises(BadUpload, match=r"row 1 \(line 2\), column 'kind' is not a number: 'x'"):
        _read(text)


def test_quotes_blanks_blank_lines_and_a_byte_order_mark_are_accepted() -> None:
    lines = ['"a", b ,"the\u00a0label"', ' 1 ,"2","x, y"', "", '3,4,"say ""z"""', '1,2,"x, y"', '3,4,"say ""z"""', ""]
    table = _read("\ufeff" + "\r\n".join(lines))

    assert (table.columns, table.label) == (("a", "b"), "the\u00a0label")
    assert (table.x[:2].tolist(), table.classes) == ([[1, 2], [3, 4]], ('say "z"', "x, y"))


def test_labels_of_numbers_and_text_are_all_read_as_text() -> None:
    assert _read("a,y\n1,1\n2,1.0\n3,b\n4,1\n5,1.0\n6,b\n").classes == ("1", "1.0", "b")
    assert _read("a,y\n1,1\n2,1.0\n3,2\n4,2\n").classes == ("1", "2")


def test_many_distinct_labels_are_targets() -> None:
    numbers = np.random.default_rng(0).normal(size=3000)
    table = _read("a,y\n" + "".join(f"1,{number!r}\n" for number in numbers.tolist()))

    assert table.y.tolist() == numbers.tolist()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "the file is empty"),
        ("\n\n", "the file is empty"),
        ("a,b\n", "the file has 0 rows: at least 2 are needed"),
        ("1,2\n3,4\n", "line 1 has only numbers: add a header line that names the columns"),
        (",a,y\n0,1,2\n", "column 1 has no name; name it, or write the file with index=False if pandas added it"),
        ("a,b,a\n1,2,3\n", "column 3: two columns have the name 'a'"),
        ("a\n1\n", "there is only one column, 'a'"),
        ("a;b\n1;2\n", "line 1 has no comma but ';': separate cells by commas"),
        ("a,b\n1,1\n1\n", "row 2 (line 3) has 1 cells, the header 2"),
        ("a,b\n1,1\n\n1,2,3\n", "row 2 (line 4) has 3 cells, the header 2"),
        ("a,b\n1,1\n,1\n", "row 2 (line 3), column 'a' is empty"),
        ("a,b\n1,1\n1,\n", "row 2 (line 3), column 'b' is empty"),
        ("a,b\n1,1\n1.2.3,1\n", "row 2 (line 3), column 'a' is not a number: '1.2.3'"),
        ("a,b\n1_000,1\n", "row 1 (line 2), column 'a' is not a number: '1_000'"),
        ("a,b\n\u0661,1\n", "row 1 (line 2), column 'a' is not a number: '\u0661'"),
        ("a,b\n0x10,1\n", "row 1 (line 2), column 'a' is not a number: '0x10'"),
        ("a,b\n1,1\nNaN,1\n", "row 2 (line 3), column 'a' is nan; every value must be finite"),
        ("a,b\n1,1\n1,nan\n", "row 2 (line 3), column 'b' is nan"),
        ("a,b\n-inf,1\n", "row 1 (line 2), column 'a' is -inf"),
        ("a,b\n1e400,1\n", "row 1 (line 2), column 'a' is inf"),
        ("a,b\n1,1e39\n", "row 1 (line 2), column 'b' is 1e+39, too large for float32 (at most 3.4e+38)"),
        ("a,b\n3.5e38,1\n", "row 1 (line 2), column 'a' is 3.5e+38, too large for float32 (at most 3.4e+38)"),
        ("a,b\nnan,1\nx,1\n", "row 1 (line 2), column 'a' is nan; every value must be finite"),
        ("a,b\nnan,1\n1,\n", "row 1 (line 2), column 'a' is nan; every value must be finite"),
        ("a,b\n1,1\n1,\0\n", "line 3: the line has a NUL byte; send text in UTF-8"),
        (b"a,b\n1,1\n1,caf\xe9\n", "line 3: byte 0xe9 at position 6 is not UTF-8"),
        (b"\xff\xfea\0,\0b\0", "line 1: the line has a NUL byte; send text in UTF-8"),
        ('a,b\n1,"x"y\n', "line 2: ',' expected after '\"'"),
        ('a,b\n1,x\n1,"x\n1,y\n', "line 3: unexpected end of data"),
        ("a,b\r1,1\r1,1\r", "line 1: a cell has a carriage return; end lines with \\n or \\r\\n"),
        ('a,b\n"1\n2",1\n', "row 1 (line 2), column 'a' is not a number: '1\\n2'"),
        ("a,b\n1," + "x" * 201 + "\n", "row 1 (line 2), column 'b' is a label of 201 characters, at most 200 allowed"),
        ("a," + "x" * 201 + "\n", "column 2 has a name of 201 characters, at most 200 allowed: '" + "x" * 50),
        ("a,b\n" + "7" * 140_000 + ",1\n", "line 2: field larger than field limit (131072)"),
    ],
)
def test_each_error_names_the_place_of_the_fault(text: str | bytes, message: str) -> None:
    assert _refusal(text).startswith(message)


def test_the_error_names_a_bad_cell_in_row_70000() -> None:
    lines = ["a,b,y"] + ["1.5,2.5,0", "3.5,4.5,1"] * 36_000
    lines[70_000] = "1.5,abc,0"

    assert _refusal("\n".join(lines)) == "row 70000 (line 70001), column 'b' is not a number: 'abc'"


def test_the_error_names_a_bad_target_after_a_thousand_good_ones() -> None:
    lines = ["a,y"] + [f"1,{i / 7}" for i in range(5000)]
    lines[4000] = "1,1.2.3"

    assert _refusal("\n".join(lines)).startswith(
        "row 4000 (line 4001), column 'y' is not a number: '1.2.3'; the labels before it are numbers"
    )


def test_the_error_names_the_row_of_text_label_1001() -> None:
    assert _refusal("a,y\n" + "".join(f"1,n{i}\n" for i in range(5000))).endswith(
        "the label at row 1001 (line 1002), column 'y' is one too many"
    )


def test_the_error_about_a_missing_label_column_lists_the_columns() -> None:
    with pytest.raises(BadUpload) as caught:
        _read(",".join(f"c{i}" for i in range(25)) + "\n", "species")

    assert caught.value.location == ("label",)
    assert str(caught.value).startswith("no column is named 'species'; there are 'c0', 'c1', ")
    assert str(caught.value).endswith("'c19' and 5 more")


def test_text_labels_for_a_regression_are_an_error_of_the_task() -> None:
    with pytest.raises(BadUpload, match=r"row 2 \(line 3\), column 'y' is not a number: 'b'; task 'reg") as caught:
        _read("a,y\n1,1\n1,b\n", task="regression")

    assert caught.value.location == ("task",)


@pytest.mark.parametrize(
    ("limits", "message"),
    [
        ({"rows": 999}, "1,000 rows, at most 999 allowed"),
        ({"columns": 1}, "2 columns, at most 1 allowed"),
        ({"data_bytes": 24 * 1000 - 1}, "24,000 bytes, at most 23,999 allowed"),
    ],
)
def test_limits_are_enforced(limits: dict[str, Any], message: str) -> None:
    text = "a,b,y\n" + "1,2,0\n3,4,1\n" * 500
    _read(text, rows=1000, columns=2, data_bytes=24 * 1000)

    assert message in _refusal(text, **limits)


@pytest.mark.parametrize(
    "endless",
    [b"a,b\n1," + b"1" * 10**7, b'a,b\n1,"' + b'\n","' * 10**6, b"a," * 10**6, b'a,b\n"' + b"1\n" * 10**6],
    ids=["line", "row of many cells", "header", "cell"],
)
def test_an_endless_row_is_refused_before_it_fills_the_memory(endless: bytes) -> None:
    file = io.BytesIO(endless)
    tracemalloc.start()
    with pytest.raises(BadUpload):
        read_csv(file, None, "auto", UploadLimits(columns=1000))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()

    assert peak < 5e6


def test_memory_is_little_more_than_the_values() -> None:
    rows = np.random.default_rng(0).normal(size=(10_000, 11)).round(6)
    file = io.BytesIO(("a,b,c,d,e,f,g,h,i,j,y\n" + "".join(",".join(map(str, row)) + "\n" for row in rows)).encode())
    tracemalloc.start()
    table = read_csv(file, None, "auto", UploadLimits())
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()

    assert (table.x == rows[:, :-1]).all()
    assert peak < 2 * rows.nbytes


VALID = b'a,"b",y\n1,2.5,u\n-3e2,"4",v\n5,6,u\n7,.8,v\n'


@given(
    st.one_of(
        st.binary(),
        st.text(st.sampled_from('ab1.-+e_,"\n\r \0\u00e9'), max_size=60).map(str.encode),
        st.tuples(st.integers(0, len(VALID)), st.binary(max_size=2), st.integers(0, 3)).map(
            lambda cut: VALID[: cut[0]] + cut[1] + VALID[cut[0] + cut[2] :]
        ),
    ),
    st.sampled_from([None, "a", "y"]),
    st.sampled_from(["auto", "classification", "regression"]),
)
def test_any_bytes_give_a_table_or_an_error(content: bytes, label: str | None, task: Any) -> None:
    try:
        table = _read(content, label, task)
    except BadUpload as error:
        str(error).encode()
        return
    assert np.isfinite(table.x).all()
    assert len(table.x) == len(table.y) >= 2
