"""The table that every file format is read into, and the rules for labels."""

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
MAX_NUMERIC_CLASSES = 50  # integers with more distinct values are regression targets
MAX_NAME = 200  # characters of a column's or a class's name
MAX_CELL = float(np.finfo(np.float32).max)  # training may be in float32
UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]")  # control characters and surrogates
LISTED = 20  # names that a message lists; it counts the others


class UploadLimits(BaseSettings):
    """Limits of one uploaded data set. The environment variable `GRADFLOW_UPLOAD_<NAME>` sets each."""

    model_config = SettingsConfigDict(env_prefix="GRADFLOW_UPLOAD_", frozen=True)

    rows: int = Field(5_000_000, ge=2)
    columns: int = Field(20_000, ge=1, description="Input values per sample: 64 × 64 × 3 images have 12,288.")
    data_bytes: int = Field(256 * 2**20, ge=1, description="Bytes of inputs and labels together, decoded.")

    def check(self, rows: int, columns: int, data_bytes: int) -> None:
        """Check sizes against the limits. Call it with declared sizes before memory is allocated for them.

        Raises:
            BadUpload: A size is larger than its limit.
        """
        for name, value, maximum in (
            ("bytes", data_bytes, self.data_bytes),
            ("rows", rows, self.rows),
            ("columns", columns, self.columns),
        ):
            if value > maximum:
                raise BadUpload(f"too large: {value:,} {name}, at most {maximum:,} allowed")


@dataclass(frozen=True)
class Table:
    """Inputs and labels in the order of the file.

    `x` is [samples, *input_shape], little-endian float64 or float32 in C order. `y` is class indices (int32,
    [samples]) or regression targets (float64, [samples] or [samples, targets]). All values are finite in float32.
    """

    x: Numbers
    y: NDArray[np.int32] | NDArray[np.float64]
    columns: tuple[str, ...] | None  # names of the columns of x; None if the format has no names
    label: str
    classes: tuple[str, ...] | None  # None for regression
    task: Literal["classification", "regression"]


@dataclass(frozen=True)
class Coded:
    """Text labels: the label of row `i` is `names[codes[i]]`. Names are distinct, and each occurs."""

    codes: NDArray[np.int32]
    names: tuple[str, ...]


class TextLabels:
    """Collects text labels; memory holds one integer per row and one name per class."""

    def __init__(self) -> None:
        self._codes = array("i")
        self._code_of: dict[str, int] = {}

    def extend(self, texts: Iterable[str], place: Callable[[int], str]) -> None:
        """Add labels; `place` names the place of row `i`, counted from 0, for a message."""
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
        """Return all labels so far."""
        return Coded(np.array(self._codes, dtype=np.int32), tuple(self._code_of))


def check_class_name(name: str, place: str) -> None:
    """Check that a label can be the name of a class; `place` begins the message.

    Raises:
        BadUpload: The label is empty, too long or unprintable.
    """
    if not name:
        raise BadUpload(f"{place} is empty")
    if len(name) > MAX_NAME:
        raise BadUpload(f"{place} is a label of {len(name):,} characters, at most {MAX_NAME} allowed")
    if UNPRINTABLE.search(name):
        raise BadUpload(f"{place} is a label with control characters: {name[:50]!a}")


def check_column_names(names: Iterable[str]) -> None:
    """Check the names of columns.

    Raises:
        BadUpload: A name is empty, too long, unprintable or used twice.
    """
    seen: set[str] = set()
    for number, name in enumerate(names, 1):
        if not name:
            raise BadUpload(
                f"column {number} has no name; name it, or write the file with index=False if pandas added it"
            )
        if len(name) > MAX_NAME:
            raise BadUpload(
                f"column {number} has a name of {len(name):,} characters, at most {MAX_NAME} allowed: {name[:50]!a}…"
            )
        if UNPRINTABLE.search(name):
            raise BadUpload(f"column {number} has a name with control characters: {name[:50]!a}")
        if name in seen:
            raise BadUpload(f"column {number}: two columns have the name {name!r}")
        seen.add(name)


def label_position(names: list[str], label: str | None) -> int:
    """Return the index of the label column: the last one if none is named.

    Raises:
        BadUpload: There is no such column, or no other column for inputs.
    """
    if len(names) < 2:
        raise BadUpload(f"there is only one column, {names[0]!r}: a data set needs at least one input and a label")
    if label is None:
        return len(names) - 1
    if label not in names:
        raise BadUpload(f"no column is named {label[:MAX_NAME]!r}; there are {listed(names)}", ("label",))
    return names.index(label)


def listed(names: Iterable[str]) -> str:
    """Return names for a message, at most LISTED of them."""
    quoted = [repr(name[:MAX_NAME]) for name in names]
    more = f" and {len(quoted) - LISTED:,} more" if len(quoted) > LISTED else ""
    return ", ".join(quoted[:LISTED]) + more


def first_unusable(numbers: NDArray[Any]) -> int | None:
    """Return the flat index, in C order, of the first value that is NaN, infinite or too large for float32."""
    if numbers.dtype.kind != "f":
        return None
    if numbers.size and numbers.min() >= -MAX_CELL and numbers.max() <= MAX_CELL:  # min and max propagate NaN
        return None
    usable = (numbers >= -MAX_CELL) & (numbers <= MAX_CELL)
    return None if usable.all() else int(np.argmin(usable))


def what_is_wrong(number: float) -> str:
    """Return the end of a sentence about a value that `first_unusable` found."""
    number = float(number)
    if np.isfinite(number):
        return f"is {number!r}, too large for float32 (at most {MAX_CELL:.1e})"
    return f"is {number!r}; every value must be finite"


def labeled(
    x: NDArray[Any],
    labels: NDArray[Any] | Coded,
    task: Task = "auto",
    *,
    columns: tuple[str, ...] | None = None,
    label: str = "y",
    place: Callable[[int], str] = lambda row: f"row {row + 1}",
) -> Table:
    """Make a table of inputs and labels.

    Text and true/false become classes in alphabetical order. Integers with at most MAX_NUMERIC_CLASSES distinct
    values become classes in numeric order; other numbers become regression targets. `task` overrules this rule for
    numbers.

    Args:
        x: Inputs [samples, *input_shape], finite in float32.
        labels: Labels [samples] or targets [samples, targets], or text.
        task: How to read the labels.
        columns: Names of the columns of `x`, if the format has names.
        label: Name of the labels.
        place: Names the place of a row, counted from 0, for a message.

    Raises:
        BadUpload: The labels do not fit to the task, or a class is too small.
    """
    if len(x) < 2:
        raise BadUpload(f"the file has {len(x)} rows: at least 2 are needed, one for training and one for validation")
    inputs = np.ascontiguousarray(x, dtype="<f4" if x.dtype in (np.float32, np.float16) else "<f8")

    if isinstance(labels, Coded):
        if task == "regression":
            raise BadUpload(
                f"{label!r} has text such as {labels.names[0]!r}; task 'regression' needs numbers",
                ("task",),
            )
        codes, names = _in_order(labels)
    elif labels.ndim == 2:
        if task == "classification":
            raise BadUpload(
                f"{label!r} has {labels.shape[1]:,} targets per sample; task 'classification' needs one label",
                ("task",),
            )
        return Table(inputs, np.ascontiguousarray(labels, "<f8"), columns, label, None, "regression")
    else:
        distinct = _distinct_if_classes(labels, task, label, place)
        if distinct is None:
            return Table(inputs, np.ascontiguousarray(labels, "<f8"), columns, label, None, "regression")
        codes = np.searchsorted(distinct, labels).astype("<i4")
        is_bool = distinct.dtype.kind == "b"
        names = tuple(str(bool(value)).lower() if is_bool else str(int(value)) for value in distinct)

    # Numbers that were taken for classes may be regression targets.
    hint = (
        ""
        if task != "auto" or isinstance(labels, Coded)
        else "; if these are regression targets, set task to regression"
    )
    if len(names) == 1:
        raise BadUpload(f"there is only one class: {label!r} is {names[0]!r} in all {len(x):,} rows{hint}")
    counts = np.bincount(codes, minlength=len(names))
    if (counts == 1).any():
        single = int(np.argmax(counts == 1))
        where = place(int(np.argmax(codes == single)))
        raise BadUpload(
            f"class {names[single]!r} has only one row, {where}: training and validation need one each{hint}"
        )
    return Table(inputs, codes, columns, label, names, "classification")


def too_many_classes(place: str) -> BadUpload:
    """Return the error for the label at which the classes become too many."""
    return BadUpload(f"there are more than {MAX_CLASSES:,} classes; the label at {place} is one too many")


def _in_order(labels: Coded) -> tuple[NDArray[np.int32], tuple[str, ...]]:
    order = sorted(range(len(labels.names)), key=labels.names.__getitem__)
    rank = np.empty(len(order), dtype="<i4")
    rank[order] = np.arange(len(order))
    return rank[labels.codes], tuple(labels.names[code] for code in order)


def _distinct_if_classes(
    labels: NDArray[Any], task: Task, label: str, place: Callable[[int], str]
) -> NDArray[Any] | None:
    """Return the distinct labels in order if they are classes; None if they are regression targets."""
    if task == "regression":
        return None
    if labels.dtype.kind == "f":
        fractional = labels != np.trunc(labels)
        if fractional.any():
            if task == "auto":
                return None
            row = int(np.argmax(fractional))
            raise BadUpload(
                f"{label!r} is {float(labels[row])!r} at {place(row)}: classes must be integers or text", ("task",)
            )
    distinct = np.unique(labels)
    if task == "auto" and len(distinct) > MAX_NUMERIC_CLASSES:
        return None
    if len(distinct) > MAX_CLASSES:
        first = np.argmax(~np.isin(labels, distinct[:MAX_CLASSES]))
        raise too_many_classes(place(int(first)))
    return distinct
