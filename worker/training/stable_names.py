"""Names of traced functions that do not depend on what was traced before.

TensorFlow numbers functions and tensors as they come, and its cache of XLA programs on disk goes by these names:
without this a program would be found again only by a process that had traced the same things before in the same order.
"""

import itertools
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from tensorflow.python.framework import ops  # not public: without `uid` programs are compiled anew, and nothing else

NUMBERS_A_PROGRAM = 2**20  # far more than any trace takes

_ONE_AT_A_TIME = threading.Lock()


@contextmanager
def stable_names(program: str) -> Iterator[None]:
    """Number what this thread traces within from a place of the program's own; `program` is a hexadecimal name."""
    numbers = itertools.count(int(program[:10], 16) * NUMBERS_A_PROGRAM)
    thread = threading.get_ident()
    with _ONE_AT_A_TIME:
        before = ops.uid
        ops.uid = lambda: next(numbers) if threading.get_ident() == thread else before()
        try:
            yield
        finally:
            ops.uid = before
