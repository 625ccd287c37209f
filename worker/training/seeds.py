"""Independent random streams from one seed: a change to one part of a run leaves the other parts as they are."""

from enum import IntEnum

import numpy as np

MAX_SEED = 2**31 - 1  # exclusive, of the seeds that Keras's initializers and noise layers take


class Stream(IntEnum):
    """What the random numbers of a stream are used for."""

    DATA = 0
    WEIGHTS = 1
    ORDER = 2
    NOISE = 3


def generator(seed: int, stream: Stream, *index: int) -> np.random.Generator:
    """Create the generator of a stream.

    Args:
        seed: A non-negative seed of a spec.
        stream: What the random numbers are used for.
        index: Tells generators of one stream apart, for example the number of the epoch.

    Returns:
        A new generator. Generators of different arguments are independent (`numpy.random.SeedSequence.spawn`).
    """
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(stream, *index)))
