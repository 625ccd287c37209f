"""Cursors are opaque and validated."""

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.api.http.paging import cursor_of, position_of
from service.contract.errors import BadCursor
from service.store.ids import new_id


@given(st.integers(0, 16**24 - 1))
def test_a_cursor_contains_the_id_but_does_not_show_it(number: int) -> None:
    experiment_id = f"{number:024x}"
    cursor = cursor_of(experiment_id)

    assert position_of(cursor) == experiment_id
    assert cursor is not None
    assert experiment_id not in cursor


def test_without_a_cursor_there_is_no_position() -> None:
    assert cursor_of(None) is None
    assert position_of(None) is None


def test_a_cursor_of_another_version_is_refused() -> None:
    cursor = base64.urlsafe_b64encode(b"2:" + b"a" * 24).decode()

    with pytest.raises(BadCursor):
        position_of(cursor)


@pytest.mark.parametrize(
    "inside",
    [
        "",
        "1:",
        "1:" + "a" * 23,
        "1:" + "a" * 25,
        "1:" + "A" * 24,
        "1:" + "g" * 24,
        "1:" + "a" * 24 + "\n",
        "1:}:record",
    ],
)
def test_a_cursor_without_a_valid_id_is_refused(inside: str) -> None:
    with pytest.raises(BadCursor, match="next_cursor"):
        position_of(base64.urlsafe_b64encode(inside.encode()).decode())


@given(st.text(max_size=100))
def test_any_other_text_is_refused_as_a_cursor(text: str) -> None:
    with pytest.raises(BadCursor):
        position_of(text)


def test_later_ids_sort_after_earlier_ones() -> None:
    ids = [new_id() for _ in range(3)]

    assert len(set(ids)) == 3
    assert [i[:12] for i in ids] == sorted(i[:12] for i in ids)
