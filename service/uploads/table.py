"""What a data set is once it has been read, whatever the format of its file."""

import re
from array import array
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

from service.contract.errors import BadUpload

Task = Literal["auto", "classification", "regression"]
Numbers = NDArray[np.float64] | NDArray[np.float32]

MAX_CLASSES = 1000
MAX_NUMERIC_CLASSES = 50  # whole numbers with more distinct values than these are amounts
MAX_NAME = 200  # characters of a column's or a class's name
MAX_CELL = float(np.finfo(np.float32).max)  # training may be in float32, where more is infinite
UNSPEAKABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]")  # control characters, halves of characters
LISTED = 20  # names that a message lists before it only counts


class UploadLimits(BaseSettings):
    """The most that one uploaded data set may hold; `GRADFLOW_UPLOAD_…` changes each."""

    model_config = SettingsConfigDict(env_prefix="GRADFLOW_UPLOAD_", frozen=True)

    rows: int = Field(5_000_000, ge=2)
    columns: int = Field(20_000, ge=1, description="Numbers a row, labels apart: 64 × 64 × 3 images have 12,288.")
    data_bytes: int = Field(256 * 2**20, ge=1, description="Bytes of inputs and labels together, once decoded.")

    def check(self, rows: int, columns: int, data_bytes: int) -> None:
        """Refuse what is larger; all three may be claims, as long as nothing was allocated for them."""
        for name, value, maximum in (
            ("bytes", data_bytes, self.data_bytes),
            ("rows", rows, self.rows),
            ("columns", columns, self.columns),
        ):
            if value > maximum:
                raise BadUpload(f"too large: {value:,} {name}, at most {maximum:,} allowed")


@dataclass(frozen=True)
class Table:
    """Rows and their labels, in the order of the file.

    `x` is [rows, *row_shape], little-endian float64 or float32 in C order. `y` is class numbers (int32, [rows]), or
    targets (float64, [rows] or [rows, k]). All numbers are finite in float32.
    """

    x: Numbers
    y: NDArray[np.int32] | NDArray[np.float64]
    columns: tuple[str, ...] | None  # those of x; None where the format names none
    label: str
    classes: tuple[str, ...] | None  # None for regression
    task: Literal["classification", "regression"]


@dataclass(frozen=True)
class Coded:
    """Text labels: row `i` says `names[codes[i]]`. Names are distinct, and each is some row's."""

    codes: NDArray[np.int32]
    names: tuple[str, ...]


class TextLabels:
    """Collects text labels row by row, in memory for a number a row and a name a class."""

    def __init__(self) -> None:
        self._codes = array("i")
        self._code_of: dict[str, int] = {}

    def extend(self, texts: Iterable[str], place: Callable[[int], str]) -> None:
        """Add a label a row; `place` says where row `i`, counting from 0, is."""
        for text in texts:
            code = self._code_of.get(text)
            if code is None:
                where = place(len(self._codes))
                check_class_name(text, where)
                code = len(self._code_of)
                if code == MAX_CLASSES:
                    raise too_many_classes(where)
                self._code_of[text] = code
            self._codes.append(code)

    def coded(self) -> Coded:
        """All labels so far."""
        return Coded(np.array(self._codes, dtype=np.int32), tuple(self._code_of))


def check_class_name(name: str, place: str) -> None:
    """Refuse a label that is no name; `place` begins the message."""
    if not name:
        raise BadUpload(f"{place} is empty")
    if len(name) > MAX_NAME:
        raise BadUpload(f"{place} is a label of {len(name):,} characters, at most {MAX_NAME} allowed")
    if UNSPEAKABLE.search(name):
        raise BadUpload(f"{place} is a label with control characters: {name[:50]!a}")


def check_column_names(names: Iterable[str]) -> None:
    """Refuse names that are empty, too long, unprintable or given twice."""
    seen: set[str] = set()
    for number, name in enumerate(names, 1):
        if not name:
            raise BadUpload(f"column {number} has no name (pandas writes such a column unless told index=False)")
        if len(name) > MAX_NAME:
            raise BadUpload(
                f"column {number} has a name of {len(name):,} characters, at most {MAX_NAME} allowed: {name[:50]!a}…"
            )
        if UNSPEAKABLE.search(name):
            raise BadUpload(f"column {number} has a name with control characters: {name[:50]!a}")
        if name in seen:
            raise BadUpload(f"column {number}: the name {name!r} is given to two columns")
        seen.add(name)


def label_position(names: list[str], label: str | None) -> int:
    """Where the label column is: the last unless named."""
    if len(names) < 2:
        raise BadUpload(f"one column only, {names[0]!r}: inputs and a label are two at least")
    if label is None:
        return len(names) - 1
    if label not in names:
        raise BadUpload(f"no column is named {label[:MAX_NAME]!r}; there are {listed(names)}", ("label",))
    return names.index(label)


def listed(names: Iterable[str]) -> str:
    """Names for a message, the first 20 of them."""
    quoted = [repr(name[:MAX_NAME]) for name in names]
    more = f" and {len(quoted) - LISTED:,} more" if len(quoted) > LISTED else ""
    return ", ".join(quoted[:LISTED]) + more


def first_unusable(numbers: NDArray[Any]) -> int | None:
    """Flat index, in C order, of the first number that is NaN, infinite or more than float32 holds."""
    if numbers.dtype.kind != "f":
        return None
    if numbers.size and numbers.min() >= -MAX_CELL and numbers.max() <= MAX_CELL:  # NaN comes through min and max
        return None
    usable = (numbers >= -MAX_CELL) & (numbers <= MAX_CELL)
    return None if usable.all() else int(np.argmin(usable))


def what_is_wrong(number: float) -> str:
    """Of a number that `first_unusable` found, as the end of a sentence that names its place."""
    number = float(number)
    if np.isfinite(number):
        return f"is {number!r}, more than float32 holds ({MAX_CELL:.1e})"
    return f"is {number!r}"


def labeled(
    x: NDArray[Any],
    labels: NDArray[Any] | Coded,
    task: Task = "auto",
    *,
    columns: tuple[str, ...] | None = None,
    label: str = "y",
    place: Callable[[int], str] = lambda row: f"row {row + 1}",
) -> Table:
    """The table of these inputs and labels, all of which are usable numbers; `place` names a row, counting from 0.

    Text and true/false are classes, by name in alphabetical order. Whole numbers of few distinct values are classes
    too, in numeric order; other numbers are targets. `task` overrules where that is possible.
    """
    if len(x) < 2:
        raise BadUpload(f"{len(x)} rows: at least 2 are needed, one to train on and one to validate")
    inputs = np.ascontiguousarray(x, dtype="<f4" if x.dtype in (np.float32, np.float16) else "<f8")

    if isinstance(labels, Coded):
        if task == "regression":
            raise BadUpload(
                f"{label!r} holds text such as {labels.names[0]!r}, which is no target of a regression",
                ("task",),
            )
        codes, names = _in_order(labels)
    elif labels.ndim == 2:
        if task == "classification":
            raise BadUpload(f"{label!r} has {labels.shape[1]:,} targets a row, which are no classes", ("task",))
        return Table(inputs, np.ascontiguousarray(labels, "<f8"), columns, label, None, "regression")
    else:
        distinct = _distinct_if_classes(labels, task, label, place)
        if distinct is None:
            return Table(inputs, np.ascontiguousarray(labels, "<f8"), columns, label, None, "regression")
        codes = np.searchsorted(distinct, labels).astype("<i4")
        is_bool = distinct.dtype.kind == "b"
        names = tuple(str(bool(value)).lower() if is_bool else str(int(value)) for value in distinct)

    # Numbers were taken for classes only because they look like it: they may be amounts.
    hint = "" if task != "auto" or isinstance(labels, Coded) else "; if these are amounts, ask for task 'regression'"
    if len(names) == 1:
        raise BadUpload(f"one class only: {label!r} is {names[0]!r} in all {len(x):,} rows{hint}")
    counts = np.bincount(codes, minlength=len(names))
    if (counts == 1).any():
        lonely = int(np.argmax(counts == 1))
        where = place(int(np.argmax(codes == lonely)))
        raise BadUpload(
            f"class {names[lonely]!r} has one row only, {where}: training and validation need one each{hint}"
        )
    return Table(inputs, codes, columns, label, names, "classification")


def too_many_classes(place: str) -> BadUpload:
    """The error for the label that makes them too many."""
    return BadUpload(f"more than {MAX_CLASSES:,} classes, the label at {place} being one more")


def _in_order(labels: Coded) -> tuple[NDArray[np.int32], tuple[str, ...]]:
    order = sorted(range(len(labels.names)), key=labels.names.__getitem__)
    rank = np.empty(len(order), dtype="<i4")
    rank[order] = np.arange(len(order))
    return rank[labels.codes], tuple(labels.names[code] for code in order)


def _distinct_if_classes(
    labels: NDArray[Any], task: Task, label: str, place: Callable[[int], str]
) -> NDArray[Any] | None:
    """The distinct labels in order, where they are classes; None where they are targets."""
    if task == "regression":
        return None
    if labels.dtype.kind == "f":
        fractional = labels != np.trunc(labels)
        if fractional.any():
            if task == "auto":
                return None
            row = int(np.argmax(fractional))
            raise BadUpload(
                f"{label!r} is {float(labels[row])!r} at {place(row)}: classes are whole numbers or text", ("task",)
            )
    distinct = np.unique(labels)
    if task == "auto" and len(distinct) > MAX_NUMERIC_CLASSES:
        return None
    if len(distinct) > MAX_CLASSES:
        first = np.argmax(~np.isin(labels, distinct[:MAX_CLASSES]))
        raise too_many_classes(place(int(first)))
    return distinct
