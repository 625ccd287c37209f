"""Second moments of the samples of a data set, averaged over columns: the input of the first layer's map."""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from service.analysis.theory.activations import Array
from service.analysis.theory.output_errors import Targets
from service.analysis.theory.prediction import NoTheory
from service.analysis.theory.theory_input import TheoryInput
from service.contract.data_spec import (
    AddingProblem,
    Blobs,
    BundledData,
    Circles,
    DataSpec,
    Moons,
    Parity,
    RandomData,
    Scale,
    Teacher,
    TwoSpirals,
    UploadData,
)


class SampleMoments(NamedTuple):
    """Moments of the samples x_a, averaged over columns and samples."""

    square: float  # mean of x_a²
    product: float  # mean of x_a x_b over two different samples


class ExpectedData(NamedTuple):
    """What is known or assumed of a data set before any of it is read."""

    samples: SampleMoments
    targets: Targets
    assumption: str | None  # a sentence for the user; None if nothing is assumed


STANDARD = SampleMoments(1.0, 0.0)

# Measured on the training split of `worker.training.data.load` for a default spec: the first 80 % of the samples,
# shuffled with seed 0. The test of this module repeats the measurement.
MEASURED: Mapping[tuple[str, Scale], SampleMoments] = {
    ("breast_cancer", "none"): SampleMoments(54_531, 39_754),
    ("breast_cancer", "minmax"): SampleMoments(0.0930, 0.0710),
    ("digits", "none"): SampleMoments(60.09, 41.31),
    ("digits", "standard"): SampleMoments(61 / 64, 0.0),  # three of the 64 columns are always 0
    ("digits", "minmax"): SampleMoments(0.2365, 0.1618),
    ("wine", "none"): SampleMoments(53_120, 44_859),
    ("wine", "minmax"): SampleMoments(0.2192, 0.1731),
    ("iris", "none"): SampleMoments(16.18, 15.03),
    ("iris", "minmax"): SampleMoments(0.2678, 0.1974),
    ("diabetes", "none"): SampleMoments(0.002259, 0.0),
    ("diabetes", "minmax"): SampleMoments(0.2372, 0.1822),
    # Averages over seeds 0 to 7. After min-max scaling the other fields of these specs change little.
    ("circles", "minmax"): SampleMoments(0.317, 0.251),
    ("moons", "minmax"): SampleMoments(0.314, 0.247),
    ("blobs", "minmax"): SampleMoments(0.334, 0.255),
    ("two_spirals", "minmax"): SampleMoments(0.301, 0.250),
    ("teacher", "minmax"): SampleMoments(0.274, 0.249),
    ("parity", "minmax"): SampleMoments(1 / 2, 1 / 4),
    ("random", "minmax"): SampleMoments(1 / 3, 1 / 4),
}
DIABETES = Targets(154.3, 5957.0)  # measured in the same way
UPLOADED: Mapping[Scale, tuple[SampleMoments, str | None]] = {
    "none": (STANDARD, "the uploaded columns are assumed to have mean 0 and standard deviation 1"),
    "standard": (STANDARD, None),
    "minmax": (SampleMoments(1 / 3, 1 / 4), "the uploaded columns are assumed to be uniform between their bounds"),
}
UPLOADED_TARGETS = "the uploaded targets are assumed to have mean 0 and standard deviation 1"


def expected_data(given: TheoryInput) -> ExpectedData:
    """Moments of the samples and targets of a data set.

    Raises:
        NoTheory: no moments are known for this data source.
    """
    data = given.data
    if isinstance(data, UploadData):
        samples, assumption = UPLOADED[data.scale]
        if given.objective.classes is None:
            assumption = UPLOADED_TARGETS if assumption is None else f"{assumption}; {UPLOADED_TARGETS}"
        return ExpectedData(samples, Targets(), assumption)
    return ExpectedData(_samples_of(data), _targets_of(data), None)


def kernel_of(inputs: Array) -> Array:
    """Mean product over columns of each pair of samples.

    Args:
        inputs: [samples, *input_shape].

    Returns:
        [samples, samples].
    """
    flat = inputs.reshape(len(inputs), -1)
    found: Array = flat @ flat.T / flat.shape[1]
    return found


def _samples_of(data: DataSpec) -> SampleMoments:
    known = MEASURED.get((data.source, data.scale))
    if known is not None:
        return known
    if data.scale == "standard":
        return STANDARD
    return _from_density(data)  # for min-max scaling too: columns that were not measured already lie in [0, 1)


def _from_density(data: DataSpec) -> SampleMoments:
    """Moments of generated samples, integrated over the density that they are drawn from."""
    match data:
        case RandomData():
            return SampleMoments(1 / 3, 1 / 4)
        case Circles(noise=noise, factor=factor):
            return SampleMoments((1 + factor**2) / 4 + noise**2, 0.0)
        case Moons(noise=noise):  # (cos t, sin t) and (1 − cos t, ½ − sin t) for t uniform in [0, π)
            return SampleMoments((1 + (5 / 4 - 2 / np.pi) / 2) / 2 + noise**2, (1 / 2**2 + 1 / 4**2) / 2)
        case Blobs(classes=classes, spread=spread):  # centers uniform in [−10, 10]
            return SampleMoments(100 / 3 + spread**2, 100 / 3 / classes)
        case TwoSpirals(noise=noise):  # radii uniform in [0, 1]
            return SampleMoments(1 / 6 + noise**2, 0.0)
        case Parity() | Teacher():
            return STANDARD
        case AddingProblem(length=length):  # numbers uniform in [0, 1), two marks in a sequence of this length
            return SampleMoments((1 / 3 + 2 / length) / 2, (1 / 4 + 4 / length**2) / 2)
        case _:
            raise NoTheory(f"the moments of the samples of {data.source} are not known")


def _targets_of(data: DataSpec) -> Targets:
    # Otherwise the adding problem: the sum of two numbers uniform in [0, 1).
    return DIABETES if isinstance(data, BundledData) else Targets(1.0, 1 / 6)
