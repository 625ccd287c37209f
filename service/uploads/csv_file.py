"""Comma-separated values, read as a stream: what is held is the numbers, never the rows."""

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
BLOCK_CELLS = 65_536  # ... or so many numbers
CELL_BYTES = 64  # a number has 25 at most; a row may have so many a column on average
SHOWN = 40  # characters of a bad cell that a message repeats
NUMBER_BYTES = 8
# What float() reads and other programs do not: 1_000, and the digits of other scripts.
ODD = re.compile(r"_|[^\x00-\x7f]")


def read_csv(file: BinaryIO, label: str | None, task: Task, limits: UploadLimits) -> Table:
    """The table in a CSV file whose first line names the columns; its label is the column named so, else the last.

    Rows are counted from 1, the header apart. Blank lines are skipped.
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
        inputs.check_block()  # an earlier row may hold a NaN: the first fault is the one to name
        raise
    inputs.check_block()
    x = np.frombuffer(inputs.numbers, dtype=np.float64).reshape(inputs.rows, len(columns))
    return labeled(x, targets.labels(), task, columns=columns, label=names[position])


class _Lines:
    """The lines of a file as text, none longer than `longest` bytes, and no row of several lines either."""

    def __init__(self, file: BinaryIO, longest: int) -> None:
        self._file = file
        self._longest = longest
        self._row_bytes = 0
        self.number = 0
        self.row_began = 0
        self.odd = False  # whether the row holds anything that `ODD` finds

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
            # A quote that is never closed makes one row of all lines after it.
            raise BadUpload(
                f"line {self.row_began}: a row of more than {self._longest:,} bytes"
                + ("" if self.row_began == self.number else "; is a quote left open?")
            )
        if self.number == 1:
            line = line.removeprefix(b"\xef\xbb\xbf")
        if b"\0" in line:
            raise BadUpload(f"line {self.number}: a NUL byte; this is not text in UTF-8")
        try:
            text = line.decode()
        except UnicodeDecodeError as error:
            raise BadUpload(
                f"line {self.number}: byte 0x{line[error.start]:02x} at position {error.start + 1} is not UTF-8"
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
            if reason.startswith("new-line character"):  # csv goes on to advise the programmer
                reason = "a carriage return within a cell; lines end in \\n or \\r\\n"
            raise BadUpload(f"line {lines.row_began}: {reason}") from None
        if row:
            yield row


def _header(row: list[str] | None, limits: UploadLimits) -> list[str]:
    if row is None:
        raise BadUpload("the file is empty")
    names = [name.strip() for name in row]
    limits.check(0, len(names) - 1, 0)
    if all(_number(name) is not None for name in names):
        raise BadUpload("line 1 holds only numbers: the header line, which names the columns, is missing")
    check_column_names(names)
    if len(names) == 1:
        for separator in (";", "\t"):
            if separator in row[0]:
                raise BadUpload(f"line 1 holds no comma but {separator!r}: cells are separated by commas only")
    return names


def _number(text: str) -> float | None:
    """The number in a cell, however large; None where it is not one, or not one elsewhere."""
    if ODD.search(text):
        return None
    try:
        return float(text)
    except ValueError:
        return None


class _Inputs:
    """The numbers of the rows so far, but for the label's column."""

    def __init__(self, columns: tuple[str, ...], limits: UploadLimits) -> None:
        self._columns = columns
        self._limits = limits
        self._block_rows = max(1, min(BLOCK_ROWS, BLOCK_CELLS // len(columns)))
        self._checked = 0
        self._lines: list[int] = []  # where the rows after the last check began
        self.numbers = array("d")
        self.rows = 0

    def begin_row(self, line: int) -> None:
        if len(self._lines) == self._block_rows:
            self.check_block()
        self._lines.append(line)

    def place(self, column: str | None = None) -> str:
        """Of the row that has begun."""
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
        """Refuse what the rows since the last check hold that is a number and yet of no use; and too many rows."""
        width = len(self._columns)
        # Not kept: as long as somebody looks at them, `numbers` cannot grow.
        block = np.frombuffer(self.numbers, dtype=np.float64)[self._checked * width : self.rows * width]
        bad = first_unusable(block)
        if bad is not None:
            row, column = divmod(bad, width)
            where = f"row {self._checked + row + 1} (line {self._lines[row]}), column {self._columns[column]!r}"
            raise BadUpload(f"{where} {what_is_wrong(block[bad])}")
        # The label of a row counts as a number, which it is until all are known.
        self._limits.check(self.rows, width, self.rows * (width + 1) * NUMBER_BYTES)
        self._checked = self.rows
        self._lines.clear()


def _not_a_number(cell: str) -> str:
    if not cell.strip():
        return "is empty"
    shown = repr(cell[:SHOWN]) + ("…" if len(cell) > SHOWN else "")
    return f"is not a number: {shown}"


class _Targets:
    """The labels so far: codes of distinct texts while these are few, then numbers."""

    def __init__(self, column: str, task: Task) -> None:
        self._column = column
        self._task = task
        self._codes = array("i")
        self._code_of: dict[str, int] = {}
        self._values: list[float | None] = []  # the number that each text is, if any
        self._numbers: array[float] | None = None

    def add(self, cell: str, inputs: _Inputs) -> None:
        """Add the label of the row that has begun in `inputs`."""
        text = cell.strip()
        if self._numbers is not None:
            self._numbers.append(self._amount(text, inputs))
            return
        code = self._code_of.get(text)
        if code is None:
            value = self._value(text, inputs)
            code = len(self._values)
            if code == MAX_CLASSES:
                self._numbers = self._as_numbers(inputs)
                self._numbers.append(self._amount(text, inputs))
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

    def _amount(self, text: str, inputs: _Inputs) -> float:
        value = self._value(text, inputs)
        if value is None:
            raise BadUpload(f"{inputs.place(self._column)} {_not_a_number(text)}, as the labels before it are")
        return value

    def _as_numbers(self, inputs: _Inputs) -> "array[float]":
        """What the codes so far stand for: with another text they would be too many for classes."""
        if None in self._values:
            raise too_many_classes(inputs.place(self._column))
        values = np.array(self._values, dtype=np.float64)
        return array("d", values[np.frombuffer(self._codes, dtype=np.int32)].tobytes())
