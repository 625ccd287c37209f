"""Which labels become classes, which become targets, and which tables are refused."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.contract.errors import BadUpload, InvalidSpec
from service.uploads.table import Coded, TextLabels, UploadLimits, first_unusable, labeled


def _coded(*texts: str) -> Coded:
    labels = TextLabels()
    labels.extend(texts, lambda row: f"row {row + 1}")
    return labels.coded()


def _x(rows: int) -> Any:
    return np.arange(2.0 * rows).reshape(rows, 2)


def test_text_labels_become_classes_in_alphabetical_order() -> None:
    table = labeled(_x(5), _coded("wolf", "ant", "wolf", "ant", "ant"))

    assert (table.task, table.classes) == ("classification", ("ant", "wolf"))
    assert table.y.tolist() == [1, 0, 1, 0, 0]
    assert table.y.dtype == np.int32


def test_the_class_false_comes_before_true() -> None:
    table = labeled(_x(4), np.array([True, False, False, True]))

    assert (table.classes, table.y.tolist()) == (("false", "true"), [1, 0, 0, 1])


@pytest.mark.parametrize("dtype", ["f8", "f4", "i1", "i8", "u8"])
def test_integers_with_few_distinct_values_become_classes_in_numeric_order(dtype: str) -> None:
    table = labeled(_x(6), np.array([10, 9, 100, 100, 9, 10], dtype=dtype))

    assert (table.classes, table.y.tolist()) == (("9", "10", "100"), [1, 0, 2, 2, 0, 1])


def test_integer_classes_that_are_equal_in_float64_stay_different() -> None:
    table = labeled(_x(4), np.array([2**60, 2**60 + 1, 2**60, 2**60 + 1]))

    assert table.classes == (str(2**60), str(2**60 + 1))


def test_minus_zero_and_zero_are_the_same_class() -> None:
    assert labeled(_x(4), np.array([0.0, -0.0, 1.0, 1.0])).classes == ("0", "1")


@pytest.mark.parametrize(("distinct", "task"), [(50, "classification"), (51, "regression")])
def test_integers_with_more_than_50_distinct_values_become_targets(distinct: int, task: str) -> None:
    table = labeled(_x(2 * distinct), np.tile(np.arange(distinct), 2))

    assert table.task == task
    assert (table.classes is None) == (task == "regression")


def test_fractions_and_several_columns_become_targets() -> None:
    assert labeled(_x(2), np.array([0.5, 1])).y.tolist() == [0.5, 1.0]
    assert labeled(_x(2), np.eye(2, dtype="f4")).y.dtype == np.float64


def test_the_task_overrules_the_rule_for_numbers() -> None:
    assert labeled(_x(4), np.array([0, 1, 0, 1]), "regression").y.dtype == np.float64
    assert labeled(_x(4), np.array([True, False] * 2), "regression").y.tolist() == [1.0, 0.0, 1.0, 0.0]
    assert len(labeled(_x(200), np.tile(np.arange(100.0), 2), "classification").classes or ()) == 100


@pytest.mark.parametrize(
    ("labels", "task", "message"),
    [
        (_coded("a", "b"), "regression", "'y' has text such as 'a'; task 'regression' needs numbers"),
        (np.array([1, 2.5]), "classification", "'y' is 2.5 at row 2: classes must be integers or text"),
        (np.eye(2), "classification", "'y' has 2 targets per sample; task 'classification' needs one label"),
    ],
)
def test_an_impossible_task_is_refused(labels: Any, task: Any, message: str) -> None:
    with pytest.raises(BadUpload) as caught:
        labeled(_x(2), labels, task)

    assert (caught.value.location, str(caught.value)) == (("task",), message)
    assert isinstance(caught.value, InvalidSpec)


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (np.array([1]), "the file has 1 rows: at least 2 are needed"),
        (np.array([], dtype=float), "0 rows"),
        (_coded("a", "a"), "only one class: 'y' is 'a' in all 2 rows"),
        (
            np.array([7, 7]),
            "only one class: 'y' is '7' in all 2 rows; if these are regression targets, set task to regression",
        ),
        (_coded("a", "b", "c", "b", "a"), "class 'c' has only one row, row 3: training"),
        (np.array([5.0, 5, 4]), "class '4' has only one row, row 3: .* if these are regression targets"),
    ],
)
def test_tables_with_too_few_rows_or_classes_are_refused(labels: Any, message: str) -> None:
    rows = len(labels.codes) if isinstance(labels, Coded) else len(labels)

    with pytest.raises(BadUpload, match=message) as caught:
        labeled(_x(rows), labels)

    assert caught.value.location == ("file",)


def test_the_error_names_the_row_of_class_1001() -> None:
    numbers = np.concatenate([np.arange(1000), [3, 3, 1000]])
    for refused in (
        lambda: labeled(_x(1003), numbers, "classification"),
        lambda: _coded(*map(str, numbers)),
    ):
        with pytest.raises(BadUpload, match=r"more than 1,000 classes; the label at row 1003"):
            refused()


@pytest.mark.parametrize("text", ["", "x" * 201, "a\0b", "\ud800", "a\nb"])
def test_text_that_cannot_name_a_class_is_refused(text: str) -> None:
    with pytest.raises(BadUpload, match=r"^row 2 is") as caught:
        _coded("a", text)

    assert len(str(caught.value).encode()) < 200


@given(st.lists(st.floats(width=64), min_size=1, max_size=50))
def test_the_first_value_that_float32_cannot_hold_is_found(numbers: list[float]) -> None:
    with np.errstate(over="ignore"):
        usable = [bool(np.isfinite(np.float32(number))) for number in numbers]
    expected = usable.index(False) if False in usable else None
    found = first_unusable(np.array(numbers))

    # Numbers up to half a step above the largest float32 would be rounded to it.
    assert found == expected or abs(numbers[found or 0]) == pytest.approx(float(np.finfo(np.float32).max))


@given(
    labels=st.lists(st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"]), min_size=1), min_size=1),
)
def test_class_indices_and_names_give_the_labels(labels: list[str]) -> None:
    labels = [label[:200] for label in labels] * 2
    if len(set(labels)) == 1:
        labels += ["a", "b"] * 2
    table = labeled(_x(len(labels)), _coded(*labels))

    assert table.classes is not None
    assert [table.classes[int(code)] for code in table.y] == labels
    assert list(table.classes) == sorted(set(labels))


def test_limits_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GRADFLOW_UPLOAD_ROWS", "10")

    with pytest.raises(BadUpload, match="11 rows, at most 10 allowed"):
        UploadLimits().check(11, 1, 1)
