"""Counts the traces of TensorFlow functions, after `equinox.debug.assert_max_traces`."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeAlias

import tensorflow as tf

Function: TypeAlias = "tf.types.experimental.PolymorphicFunction"
Signature: TypeAlias = dict[str, str]  # path of an argument -> its dtype and shape, or its value


@contextmanager
def assert_max_traces(functions: Sequence[Function], max_traces: int = 0) -> Iterator[None]:
    """Assert that each function is traced at most `max_traces` times within this context.

    Args:
        functions: Functions that `tf.function` has made.
        max_traces: How many new traces each of them may have.

    Raises:
        AssertionError: If a function is traced more often. The message names the arguments whose dtype, shape or value
            differs from that of the trace before.
    """
    before = [function.experimental_get_tracing_count() for function in functions]
    yield
    for function, count in zip(functions, before, strict=True):
        traces = function.experimental_get_tracing_count() - count
        assert traces <= max_traces, _explanation(function, traces, max_traces)


def _explanation(function: Function, traces: int, max_traces: int) -> str:
    name = function.python_function.__qualname__
    text = f"{name} was traced {traces} times, but may be traced {max_traces} times"
    signatures = [_signature(concrete) for concrete in function._list_all_concrete_functions()]
    if len(signatures) < 2:
        return f"{text}; it was never called before"
    earlier, latest = signatures[-2:]
    paths = dict.fromkeys([*earlier, *latest])
    changed = [(path, earlier.get(path), latest.get(path)) for path in paths if earlier.get(path) != latest.get(path)]
    return "; ".join([text, *(f"argument {path} changed from {old} to {new}" for path, old, new in changed)])


def _signature(concrete: tf.types.experimental.ConcreteFunction) -> Signature:
    names = list(concrete.function_type.parameters)
    positional, keywords = concrete.structured_input_signature
    found: Signature = {}
    for name, value in [*zip(names, positional, strict=False), *keywords.items()]:
        found |= _leaves(name, value)
    return found


def _leaves(path: str, value: Any) -> Signature:
    if isinstance(value, tf.TensorSpec):
        return {path: f"{value.dtype.name}{list(value.shape)}"}
    if hasattr(value, "_asdict"):
        parts = {f"{path}.{name}": part for name, part in value._asdict().items()}
    elif isinstance(value, tuple | list):
        parts = {f"{path}[{i}]": part for i, part in enumerate(value)}
    else:
        return {path: repr(value)}
    return {leaf: text for name, part in parts.items() for leaf, text in _leaves(name, part).items()}
