"""The assertion that counts traces fails with the argument that causes a new trace."""

from typing import NamedTuple

import pytest
import tensorflow as tf

from tests.support.traces import Function, assert_max_traces


class Feed(NamedTuple):
    x: tf.Tensor
    parts: tuple[tf.Tensor, ...]


@pytest.fixture
def function() -> Function:
    def scaled(scale: tf.Tensor, feed: Feed) -> tf.Tensor:
        return scale * feed.x

    return tf.function(scaled, autograph=False)


def feed(length: int) -> Feed:
    return Feed(tf.ones(2), (tf.ones(length),))


def test_calls_with_the_same_kinds_of_arguments_trace_once(function: Function) -> None:
    with assert_max_traces([function], 1):
        for scale in (1.0, 2.0, 3.0):
            function(tf.constant(scale), feed(3))


def test_a_trace_too_many_fails_and_names_the_argument_to_blame(function: Function) -> None:
    function(tf.constant(1.0), feed(3))

    expected = r"scaled was traced 1 times, .*argument feed\.parts\[0\] changed from float32\[3\] to float32\[4\]$"
    with pytest.raises(AssertionError, match=expected), assert_max_traces([function]):
        function(tf.constant(1.0), feed(4))


def test_a_python_number_in_place_of_a_tensor_is_named(function: Function) -> None:
    function(tf.constant(1.0), feed(3))

    with (
        pytest.raises(AssertionError, match=r"argument scale changed from float32\[\] to 2.0"),
        assert_max_traces([function]),
    ):
        function(2.0, feed(3))


def test_the_first_trace_has_no_argument_to_blame(function: Function) -> None:
    with pytest.raises(AssertionError, match="it was never called before"), assert_max_traces([function]):
        function(tf.constant(1.0), feed(3))
