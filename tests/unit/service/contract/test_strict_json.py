"""JSON that all parsers read alike is read; other JSON is refused with its location."""

import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.contract.errors import NotJson
from service.contract.strict_json import read_json

TEXT = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]))
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False, allow_infinity=False) | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
)


@given(JSON)
def test_any_json_value_is_read_as_it_was_written(value: Any) -> None:
    assert read_json(json.dumps(value).encode()) == value
    assert read_json(json.dumps(value, ensure_ascii=False).encode()) == value


@pytest.mark.parametrize(
    ("body", "location", "named"),
    [
        ('{"a": [1, NaN]}', ("a", "1"), "NaN is not a JSON number"),
        ('{"a": Infinity}', ("a",), "Infinity"),
        ("-Infinity", (), "-Infinity"),
        ('{"a": {"b": 1e999}}', ("a", "b"), "out of the range of a 64-bit float"),
        ("[-1e999]", ("0",), "out of the range of a 64-bit float"),
        ("[" + "9" * 400 + "]", ("0",), "out of the range of a 64-bit float"),
        ("[" + "9" * 5000 + "]", ("0",), "out of the range of a 64-bit float"),
        ('{"a": 1, "b": 2, "a": 1}', (), "key 'a' occurs more than once"),
        ('{"a": [{"b": 1, "b": {}}]}', ("a", "0"), "key 'b' occurs more than once"),
        (r'{"\u0061": 1, "a": 2}', (), "key 'a' occurs more than once"),
        (r'{"a": "\ud800"}', ("a",), "strings must not contain NUL or unpaired surrogates"),
        (r'{"a": "\uDFFF\ud83d"}', ("a",), "strings must not contain NUL or unpaired surrogates"),
        (r'{"a": {"\udc00": 1}}', ("a",), "object keys must not contain NUL or unpaired surrogates"),
        (r'{"a": ["x\u0000y"]}', ("a", "0"), "NUL"),
        ('{"a": "\0"}', (), "not JSON: Invalid control character at character"),
        ("\ufeff{}", (), "not JSON"),
        ("[" * 100_000, (), "nested too deeply"),
        ('{"a": baseline}', (), "not JSON: Expecting value at character 6"),
        ("[1] [2]", (), "not JSON"),
    ],
)
def test_json_that_parsers_read_differently_is_refused_with_its_location(
    body: str, location: tuple[str, ...], named: str
) -> None:
    with pytest.raises(NotJson, match=named) as refused:
        read_json(body.encode())

    assert refused.value.location == location
    str(refused.value).encode()


def test_bytes_that_are_not_utf_8_are_refused() -> None:
    with pytest.raises(NotJson, match="not UTF-8 at byte 2"):
        read_json(b'["\xff"]')


def test_a_complete_surrogate_pair_is_read_as_its_character() -> None:
    assert read_json(rb'"\ud83d\ude00"') == "\U0001f600"


def test_a_zero_has_no_sign() -> None:
    for text in (b"-0.0", b"-0e5", b"-1e-999", b"-0"):
        assert math.copysign(1, read_json(text)) == 1


@given(st.binary(max_size=200) | st.text(alphabet='[]{}",:0123456789eE+-.\\untrfalsNIiy \ud800\0', max_size=60))
def test_any_bytes_are_read_or_refused(body: bytes | str) -> None:
    try:
        read_json(body if isinstance(body, bytes) else body.encode("utf-8", "surrogatepass"))
    except NotJson as error:
        str(error).encode()
