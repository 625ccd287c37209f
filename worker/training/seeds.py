"""One user's seed, several independent streams: changing one part of a run leaves the others as they were."""

from enum import IntEnum

import numpy as np

LARGEST = 2**31 - 1  # of the seeds that Keras's initializers and noise layers take


class Stream(IntEnum):
    """What a random number is for."""

    DATA = 0
    WEIGHTS = 1
    ORDER = 2
    NOISE = 3


def generator(seed: int, stream: Stream, *index: int) -> np.random.Generator:
    """The generator of a stream, `index` apart from its siblings (an epoch, say)."""
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(stream, *index)))
