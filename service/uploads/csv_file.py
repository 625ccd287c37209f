"""Reads CSV files as a stream: memory holds the parsed values, never the text of all rows."""

import csv
import re
from array import array
from collections.abc import Iterator
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from service.contract.errors import BadUpload
from service.uploads.table import (
    MAX_CELL,
    MAX_CLASSES,
    Coded,
    Table,
    Task,
    UploadLimits,
    check_class_name,
    check_column_names,
    first_unusable,
    label_position,
    labeled,
    too_many_classes,
    what_is_wrong,
)

BLOCK_ROWS = 1024  # rows between two checks for NaN, infinity and limits
BLOCK_CELLS = 65_536  # values between two checks
CELL_BYTES = 64  # average bytes per cell that a row may have; a number has at most 25
SHOWN = 40  # characters of a bad cell that a message quotes
VALUE_BYTES = 8
# Python's float() accepts 1_000 and digits of other scripts; other programs do not.
ODD = re.compile(r"_|[^\x00-\x7f]")


def read_csv(file: BinaryIO, label: str | None, task: Task, limits: UploadLimits) -> Table:
    """Read a CSV file whose first line names the columns.

    Args:
        file: The file, open for reading bytes.
        label: Name of the column of labels; the last column if None.
        task: How to read the labels.
        limits: Checked while the file is read.

    Raises:
        BadUpload: The message names the row and column. Rows are counted from 1 without the header; blank lines do
            not count.
    """
    lines = _Lines(file, CELL_BYTES * (limits.columns + 1))
    rows = _rows(lines)
    names = _header(next(rows, None), limits)
    position = label_position(names, label)
    columns = tuple(names[:position] + names[position + 1 :])
    inputs = _Inputs(columns, limits)
    targets = _Targets(names[position], task)
    try:
        for row in rows:
            inputs.begin_row(lines.row_began)
            if len(row) != len(names):
                raise BadUpload(f"{inputs.place()} has {len(row):,} cells, the header {len(names):,}")
            targets.add(row.pop(position), inputs)
            inputs.add(row, odd=lines.odd)
    except BadUpload:
        inputs.check_block()  # an earlier row of the block may hold a NaN, and the first fault is reported
        raise
    inputs.check_block()
    x = np.frombuffer(inputs.numbers, dtype=np.float64).reshape(inputs.rows, len(columns))
    return labeled(x, targets.labels(), task, columns=columns, label=names[position])


class _Lines:
    """Yields the lines of a file as text. A row, which may have several lines, has at most `longest` bytes."""

    def __init__(self, file: BinaryIO, longest: int) -> None:
        self._file = file
        self._longest = longest
        self._row_bytes = 0
        self.number = 0
        self.row_began = 0
        self.odd = False  # whether `ODD` may match a cell of the row

    def begin_row(self) -> None:
        self.row_began = self.number + 1
        self._row_bytes = 0
        self.odd = False

    def __iter__(self) -> "_Lines":
        return self

    def __next__(self) -> str:
        line = self._file.readline(self._longest + 1)
        if not line:
            raise StopIteration
        self.number += 1
        self._row_bytes += len(line)
        if self._row_bytes > self._longest:
            # An open quote joins all following lines to one row.
            raise BadUpload(
                f"line {self.row_began}: the row has more than {self._longest:,} bytes"
                + ("" if self.row_began == self.number else "; check for an open quote")
            )
        if self.number == 1:
            line = line.removeprefix(b"\xef\xbb\xbf")
        if b"\0" in line:
            raise BadUpload(f"line {self.number}: the line has a NUL byte; send text in UTF-8")
        try:
            text = line.decode()
        except UnicodeDecodeError as error:
            raise BadUpload(
                f"line {self.number}: byte 0x{line[error.start]:02x} at position {error.start + 1} is not UTF-8; "
                "send text in UTF-8"
            ) from None
        self.odd = self.odd or "_" in text or not text.isascii()
        return text


def _rows(lines: _Lines) -> Iterator[list[str]]:
    reader = csv.reader(lines, strict=True)
    while True:
        lines.begin_row()
        try:
            row = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            reason = str(error)
            if reason.startswith("new-line character"):  # the message of the csv module is advice for programmers
                reason = "a cell has a carriage return; end lines with \\n or \\r\\n"
            raise BadUpload(f"line {lines.row_began}: {reason}") from None
        if row:
            yield row


def _header(row: list[str] | None, limits: UploadLimits) -> list[str]:
    if row is None:
        raise BadUpload("the file is empty")
    names = [name.strip() for name in row]
    limits.check(0, len(names) - 1, 0)
    if all(_number(name) is not None for name in names):
        raise BadUpload("line 1 has only numbers: add a header line that names the columns")
    check_column_names(names)
    if len(names) == 1:
        for separator in (";", "\t"):
            if separator in row[0]:
                raise BadUpload(f"line 1 has no comma but {separator!r}: separate cells by commas")
    return names


def _number(text: str) -> float | None:
    """Return the number in a cell, however large; None if Python or other programs do not read it as a number."""
    if ODD.search(text):
        return None
    try:
        return float(text)
    except ValueError:
        return None


class _Inputs:
    """Collects the inputs of all rows."""

    def __init__(self, columns: tuple[str, ...], limits: UploadLimits) -> None:
        self._columns = columns
        self._limits = limits
        self._block_rows = max(1, min(BLOCK_ROWS, BLOCK_CELLS // len(columns)))
        self._checked = 0
        self._lines: list[int] = []  # line numbers of the rows since the last check
        self.numbers = array("d")
        self.rows = 0

    def begin_row(self, line: int) -> None:
        if len(self._lines) == self._block_rows:
            self.check_block()
        self._lines.append(line)

    def place(self, column: str | None = None) -> str:
        """Return the place of the current row, and of a column, for a message."""
        where = f"row {self._checked + len(self._lines)} (line {self._lines[-1]})"
        return where if column is None else f"{where}, column {column!r}"

    def add(self, row: list[str], *, odd: bool) -> None:
        try:
            if odd and any(map(ODD.search, row)):
                raise ValueError
            self.numbers.extend(map(float, row))
        except ValueError:
            bad = next(i for i, cell in enumerate(row) if _number(cell) is None)
            raise BadUpload(f"{self.place(self._columns[bad])} {_not_a_number(row[bad])}") from None
        self.rows += 1

    def check_block(self) -> None:
        """Check the rows since the last check for NaN, infinity, numbers beyond float32, and the limits."""
        width = len(self._columns)
        # A local view, because an array cannot grow while a view of it exists.
        block = np.frombuffer(self.numbers, dtype=np.float64)[self._checked * width : self.rows * width]
        bad = first_unusable(block)
        if bad is not None:
            row, column = divmod(bad, width)
            where = f"row {self._checked + row + 1} (line {self._lines[row]}), column {self._columns[column]!r}"
            raise BadUpload(f"{where} {what_is_wrong(block[bad])}")
        # The label of a row counts as one value: whether labels are classes is known only at the end.
        self._limits.check(self.rows, width, self.rows * (width + 1) * VALUE_BYTES)
        self._checked = self.rows
        self._lines.clear()


def _not_a_number(cell: str) -> str:
    if not cell.strip():
        return "is empty"
    shown = repr(cell[:SHOWN]) + ("…" if len(cell) > SHOWN else "")
    return f"is not a number: {shown}"


class _Targets:
    """Collects labels: as codes of distinct texts while there are few, then as numbers."""

    def __init__(self, column: str, task: Task) -> None:
        self._column = column
        self._task = task
        self._codes = array("i")
        self._code_of: dict[str, int] = {}
        self._values: list[float | None] = []  # the number of each text, None if it is not a number
        self._numbers: array[float] | None = None

    def add(self, cell: str, inputs: _Inputs) -> None:
        """Add the label of the current row of `inputs`."""
        text = cell.strip()
        if self._numbers is not None:
            self._numbers.append(self._target(text, inputs))
            return
        code = self._code_of.get(text)
        if code is None:
            value = self._value(text, inputs)
            code = len(self._values)
            if code == MAX_CLASSES:
                self._numbers = self._as_numbers(inputs)
                self._numbers.append(self._target(text, inputs))
                return
            self._code_of[text] = code
            self._values.append(value)
        self._codes.append(code)

    def labels(self) -> NDArray[Any] | Coded:
        if self._numbers is not None:
            return np.frombuffer(self._numbers, dtype=np.float64)
        codes = np.array(self._codes, dtype=np.int32)
        if None in self._values:
            return Coded(codes, tuple(self._code_of))
        return np.array(self._values, dtype=np.float64)[codes]

    def _value(self, text: str, inputs: _Inputs) -> float | None:
        value = _number(text)
        if value is None:
            check_class_name(text, inputs.place(self._column))
            if self._task == "regression":
                where = inputs.place(self._column)
                raise BadUpload(f"{where} {_not_a_number(text)}; task 'regression' needs numbers", ("task",))
        elif not -MAX_CELL <= value <= MAX_CELL:
            raise BadUpload(f"{inputs.place(self._column)} {what_is_wrong(value)}")
        return value

    def _target(self, text: str, inputs: _Inputs) -> float:
        value = self._value(text, inputs)
        if value is None:
            raise BadUpload(f"{inputs.place(self._column)} {_not_a_number(text)}; the labels before it are numbers")
        return value

    def _as_numbers(self, inputs: _Inputs) -> "array[float]":
        """Return the labels so far as numbers, because one more text would be too many classes."""
        if None in self._values:
            raise too_many_classes(inputs.place(self._column))
        values = np.array(self._values, dtype=np.float64)
        return array("d", values[np.frombuffer(self._codes, dtype=np.int32)].tobytes())
