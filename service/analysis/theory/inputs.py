"""What the rows of a data set are to the first layer: their mean square and mean product, over columns."""

from typing import NamedTuple

import numpy as np

from service.analysis.theory.activations import Array
from service.analysis.theory.errors import Targets
from service.contract.data_spec import BundledData, RandomData
from service.contract.plan import Plan


class RowMoments(NamedTuple):
    """Means over columns and rows."""

    square: float  # of x_a²
    product: float  # of x_a x_b for two rows


STANDARD = RowMoments(1.0, 0.0)
UNIFORM = RowMoments(1 / 3, 1 / 4)


def expected_inputs(plan: Plan) -> tuple[RowMoments, Targets, bool]:
    """Moments of inputs and targets, and whether they are known rather than assumed."""
    data = plan.spec.data
    if data.scale == "standard":
        return STANDARD, Targets(), True
    if isinstance(data, RandomData):
        return UNIFORM, Targets(), True
    if isinstance(data, BundledData):
        return STANDARD, Targets(), False
    return STANDARD, Targets(), False


def kernel_of(rows: Array) -> Array:
    """Mean product of two rows over columns [rows, rows]."""
    flat = rows.reshape(len(rows), -1).astype(np.float64)
    found: Array = flat @ flat.T / flat.shape[1]
    return found
