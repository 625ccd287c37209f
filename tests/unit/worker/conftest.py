"""Keras in double precision, for exact references."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

import keras
import pytest


@contextmanager
def _float64() -> Iterator[None]:
    before = keras.config.floatx()
    keras.config.set_floatx("float64")
    try:
        yield
    finally:
        keras.config.set_floatx(before)


@pytest.fixture(scope="session")
def keras_in_float64() -> Callable[[], AbstractContextManager[None]]:
    """A context in which `fit` casts data, loss and learning rate to float64 instead of float32."""
    return _float64
