"""What the rows of a data set are to the first layer: their mean square and mean product, over columns."""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from service.analysis.theory.activations import Array
from service.analysis.theory.errors import Targets
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


class RowMoments(NamedTuple):
    """Means over columns and rows."""

    square: float  # of x_a²
    product: float  # of x_a x_b for two rows


class ExpectedInputs(NamedTuple):
    """What is known, or assumed, of a data set before a row of it is read."""

    rows: RowMoments
    targets: Targets
    assumption: str | None  # in words, where something is assumed


STANDARD = RowMoments(1.0, 0.0)

# Over the first 80 % of the rows, shuffled by seed 0: what `worker.training.data.load` gives for a default spec. The
# test of this module measures them again.
MEASURED: Mapping[tuple[str, Scale], RowMoments] = {
    ("breast_cancer", "none"): RowMoments(54_531, 39_754),
    ("breast_cancer", "minmax"): RowMoments(0.0930, 0.0710),
    ("digits", "none"): RowMoments(60.09, 41.31),
    ("digits", "standard"): RowMoments(61 / 64, 0.0),  # three columns are always 0
    ("digits", "minmax"): RowMoments(0.2365, 0.1618),
    ("wine", "none"): RowMoments(53_120, 44_859),
    ("wine", "minmax"): RowMoments(0.2192, 0.1731),
    ("iris", "none"): RowMoments(16.18, 15.03),
    ("iris", "minmax"): RowMoments(0.2678, 0.1974),
    ("diabetes", "none"): RowMoments(0.002259, 0.0),
    ("diabetes", "minmax"): RowMoments(0.2372, 0.1822),
    # The same, over seeds 0 to 7; between a column's least and largest value little depends on the other fields.
    ("circles", "minmax"): RowMoments(0.317, 0.251),
    ("moons", "minmax"): RowMoments(0.314, 0.247),
    ("blobs", "minmax"): RowMoments(0.334, 0.255),
    ("two_spirals", "minmax"): RowMoments(0.301, 0.250),
    ("teacher", "minmax"): RowMoments(0.274, 0.249),
    ("parity", "minmax"): RowMoments(1 / 2, 1 / 4),
    ("random", "minmax"): RowMoments(1 / 3, 1 / 4),
}
DIABETES = Targets(154.3, 5957.0)  # measured in the same way
UPLOADED: Mapping[Scale, tuple[RowMoments, str | None]] = {
    "none": (STANDARD, "the uploaded columns are taken to have mean 0 and deviation 1: nothing is known of them here"),
    "standard": (STANDARD, None),
    "minmax": (RowMoments(1 / 3, 1 / 4), "the uploaded columns are taken to be uniform between their bounds"),
}
UPLOADED_TARGETS = "the uploaded targets are taken to have mean 0 and deviation 1: nothing is known of them here"


def expected_inputs(given: TheoryInput) -> ExpectedInputs:
    """Moments of the rows and targets of a network's data."""
    data = given.data
    if isinstance(data, UploadData):
        rows, assumption = UPLOADED[data.scale]
        if given.objective.classes is None:
            assumption = UPLOADED_TARGETS if assumption is None else f"{assumption}; {UPLOADED_TARGETS}"
        return ExpectedInputs(rows, Targets(), assumption)
    return ExpectedInputs(_rows_of(data), _targets_of(data), None)


def kernel_of(rows: Array) -> Array:
    """Mean product of two rows over columns [rows, rows]."""
    flat = rows.reshape(len(rows), -1)
    found: Array = flat @ flat.T / flat.shape[1]
    return found


def _rows_of(data: DataSpec) -> RowMoments:
    known = MEASURED.get((data.source, data.scale))
    if known is not None:
        return known
    if data.scale == "standard":
        return STANDARD
    return _by_law(data)  # between bounds too: of those not measured, all columns lie in [0, 1) as they are


def _by_law(data: DataSpec) -> RowMoments:
    """Of rows as they are generated, from their densities."""
    match data:
        case RandomData():
            return RowMoments(1 / 3, 1 / 4)
        case Circles(noise=noise, factor=factor):
            return RowMoments((1 + factor**2) / 4 + noise**2, 0.0)
        case Moons(noise=noise):  # (cos t, sin t) and (1 − cos t, ½ − sin t) for t uniform in [0, π)
            return RowMoments((1 + (5 / 4 - 2 / np.pi) / 2) / 2 + noise**2, (1 / 2**2 + 1 / 4**2) / 2)
        case Blobs(classes=classes, spread=spread):  # centers uniform in [−10, 10]
            return RowMoments(100 / 3 + spread**2, 100 / 3 / classes)
        case TwoSpirals(noise=noise):  # radii uniform in [0, 1]
            return RowMoments(1 / 6 + noise**2, 0.0)
        case Parity() | Teacher():
            return STANDARD
        case AddingProblem(length=length):  # numbers uniform in [0, 1), two marks in `length` places
            return RowMoments((1 / 3 + 2 / length) / 2, (1 / 4 + 4 / length**2) / 2)
        case _:
            raise NoTheory(f"nothing is known of the rows of {data.source}")


def _targets_of(data: DataSpec) -> Targets:
    return DIABETES if isinstance(data, BundledData) else Targets(1.0, 1 / 6)  # of two numbers uniform in [0, 1)
