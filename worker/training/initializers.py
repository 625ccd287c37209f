"""Initializers of the contract -> Keras initializers with their seeds."""

import keras
import numpy as np

from service.contract.network.initializers import (
    Constant,
    Fixed,
    Identity,
    Initializer,
    Normal,
    Orthogonal,
    Scaled,
    TruncatedNormal,
    Uniform,
    VarianceScaling,
)
from service.contract.plan import Plan
from worker.training.seeds import MAX_SEED, Stream, generator

BY_NAME = {
    "zeros": keras.initializers.Zeros,
    "ones": keras.initializers.Ones,
    "glorot_uniform": keras.initializers.GlorotUniform,
    "glorot_normal": keras.initializers.GlorotNormal,
    "he_uniform": keras.initializers.HeUniform,
    "he_normal": keras.initializers.HeNormal,
    "lecun_uniform": keras.initializers.LecunUniform,
    "lecun_normal": keras.initializers.LecunNormal,
}
BY_KIND = {
    Constant: keras.initializers.Constant,
    Identity: keras.initializers.Identity,
    VarianceScaling: keras.initializers.VarianceScaling,
    Normal: keras.initializers.RandomNormal,
    TruncatedNormal: keras.initializers.TruncatedNormal,
    Uniform: keras.initializers.RandomUniform,
    Orthogonal: keras.initializers.Orthogonal,
}


class SeededInitializers:
    """Keras initializers for the variables of a plan, to be requested from input to output.

    Each initializer that draws random numbers advances the weight stream of the plan's seed by one seed, even if the
    initializer has a seed of its own. The order of the requests therefore decides the initial weights.
    """

    def __init__(self, plan: Plan) -> None:
        self._random: np.random.Generator = generator(plan.spec.training.seed, Stream.WEIGHTS)

    def __call__(self, initializer: Initializer) -> keras.initializers.Initializer:
        """Return the Keras initializer, with its own seed or else the next seed of the stream."""
        if isinstance(initializer, Fixed):
            return BY_NAME[initializer.name]()
        parameters = initializer.model_dump(exclude={"name", "seed"})
        if hasattr(initializer, "seed"):
            drawn = int(self._random.integers(0, MAX_SEED))
            parameters["seed"] = drawn if initializer.seed is None else initializer.seed
        kind = BY_NAME[initializer.name] if isinstance(initializer, Scaled) else BY_KIND[type(initializer)]
        return kind(**parameters)
