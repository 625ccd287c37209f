"""Generated data sets."""

from itertools import pairwise
from typing import TypeAlias, assert_never

import numpy as np
import numpy.typing as npt

from service.contract.data_spec import AddingProblem, Blobs, Circles, CopyMemory, Moons, Parity, Teacher, TwoSpirals

Synthetic: TypeAlias = Circles | Moons | Blobs | TwoSpirals | Parity | Teacher | AddingProblem | CopyMemory
Inputs: TypeAlias = npt.NDArray[np.float64]
Classes: TypeAlias = npt.NDArray[np.int32]
Targets: TypeAlias = npt.NDArray[np.float64]


def make(data: Synthetic, random: np.random.Generator) -> tuple[Inputs, Classes | Targets]:
    """Generate a data set.

    Samples are in random order: a split at any index leaves every class in both parts, as far as chance and size allow.

    Args:
        data: Which data set, and its sizes.
        random: Source of all random numbers; it is advanced.

    Returns:
        Inputs [samples, *input_shape], float64; and class indices (int32) or regression targets (float64)
        [samples, *target_shape]. The shapes are those of `service.contract.data_shape.shape_of(data)`.
    """
    match data:
        case Circles() | Moons() | Blobs():
            return _from_scikit_learn(data, random)
        case TwoSpirals():
            return _two_spirals(data, random)
        case Parity():
            return _parity(data, random)
        case Teacher():
            return _teacher(data, random)
        case AddingProblem():
            return _adding_problem(data, random)
        case CopyMemory():
            return _copy_memory(data, random)
        case _:
            assert_never(data)


def _from_scikit_learn(data: Circles | Moons | Blobs, random: np.random.Generator) -> tuple[Inputs, Classes]:
    from sklearn import datasets  # takes a second to import, and the other data sets do without

    seed = int(random.integers(2**32))  # scikit-learn takes no Generator
    match data:
        case Circles():
            x, y = datasets.make_circles(data.samples, noise=data.noise, factor=data.factor, random_state=seed)
        case Moons():
            x, y = datasets.make_moons(data.samples, noise=data.noise, random_state=seed)
        case Blobs():
            x, y = datasets.make_blobs(
                data.samples, data.features, centers=data.classes, cluster_std=data.spread, random_state=seed
            )
    return x.astype(np.float64, copy=False), y.astype(np.int32)


def _two_spirals(data: TwoSpirals, random: np.random.Generator) -> tuple[Inputs, Classes]:
    """Place points at equal distances of the angle; the second spiral is the first one, rotated by half a turn."""
    position, label = np.divmod(random.permutation(data.samples), 2)
    radius = (position + 1) / ((data.samples + 1) // 2)  # greater than 0: both spirals meet in the center
    angle = 2 * np.pi * data.turns * radius + np.pi * label
    x = radius[:, None] * np.stack([np.cos(angle), np.sin(angle)], axis=1)
    return x + data.noise * random.standard_normal(x.shape), label.astype(np.int32)


def _parity(data: Parity, random: np.random.Generator) -> tuple[Inputs, Classes]:
    """Draw bits as −1 and 1; the class is 1 if the number of ones is odd."""
    bits = random.integers(0, 2, (data.samples, data.bits), dtype=np.int8)
    return bits.astype(np.float64) * 2 - 1, (bits.sum(axis=1, dtype=np.int64) % 2).astype(np.int32)


def _teacher(data: Teacher, random: np.random.Generator) -> tuple[Inputs, Classes]:
    """Label standard normal inputs by a random network without biases."""
    sizes = [data.features, *[data.width] * data.depth, data.classes]
    # The gain keeps the variance of the signal about equal from layer to layer (of relu: He et al. 2015).
    gain = 1.5**2 if data.activation == "tanh" else 2.0
    # The weights are drawn before the inputs, so that the teacher does not depend on the number of samples.
    *hidden, output = [
        random.standard_normal((fan_in, fan_out)) * np.sqrt(gain / fan_in) for fan_in, fan_out in pairwise(sizes)
    ]
    x = random.standard_normal((data.samples, data.features))
    signal = x
    for weights in hidden:
        signal = signal @ weights
        signal = np.tanh(signal) if data.activation == "tanh" else np.maximum(signal, 0.0)
    logits = signal @ output
    # Without centering, a unit that is large for every input would be the label of every sample.
    return x, (logits - logits.mean(axis=0)).argmax(axis=1).astype(np.int32)


def _adding_problem(data: AddingProblem, random: np.random.Generator) -> tuple[Inputs, Targets]:
    """Mark one number in each half of a sequence; the target is their sum (Hochreiter and Schmidhuber 1997)."""
    half, every = data.length // 2, np.arange(data.samples)
    x = np.zeros((data.samples, data.length, 2))
    x[:, :, 0] = random.random((data.samples, data.length))
    first, second = random.integers(0, half, data.samples), random.integers(half, data.length, data.samples)
    x[every, first, 1] = x[every, second, 1] = 1.0
    return x, (x[every, first, 0] + x[every, second, 0])[:, None]


def _copy_memory(data: CopyMemory, random: np.random.Generator) -> tuple[Inputs, Classes]:
    """Show symbols, blanks and a delimiter; the labels repeat the symbols at the end (Arjovsky et al. 2016).

    Token 0 is the blank, tokens 1 to `symbols` are the symbols, and the next token is the delimiter.
    """
    symbols = random.integers(1, data.symbols + 1, (data.samples, data.length), dtype=np.int32)
    tokens = np.zeros((data.samples, 2 * data.length + data.delay), np.int32)
    labels = np.zeros_like(tokens)
    tokens[:, : data.length] = symbols
    tokens[:, data.length + data.delay - 1] = data.symbols + 1
    labels[:, -data.length :] = symbols
    if data.encoding == "tokens":
        return tokens.astype(np.float64), labels
    x = np.zeros((*tokens.shape, data.symbols + 2))
    np.put_along_axis(x, tokens[:, :, None].astype(np.intp), 1.0, axis=2)
    return x, labels
