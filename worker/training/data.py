"""Data spec -> arrays."""

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from service.contract.data_spec import BundledData, DataSpec, RandomData, Scale, UploadData
from service.contract.plan import Plan
from worker.training import synthetic
from worker.training.seeds import Stream, generator

Floats: TypeAlias = npt.NDArray[np.floating]
Labels: TypeAlias = npt.NDArray[np.int32] | npt.NDArray[np.float64]


@dataclass(frozen=True)
class Data:
    """Inputs [rows, …] and labels [rows, …]: class numbers (int32), or targets in the inputs' precision."""

    x_train: Floats
    y_train: npt.NDArray[np.generic]
    x_validation: Floats
    y_validation: npt.NDArray[np.generic]


def load(plan: Plan, uploaded: tuple[Floats, Labels] | None = None) -> Data:
    """The data of a plan: shuffled if real, cut, then scaled by its training rows.

    `uploaded` holds the rows of a data set that was uploaded, in its own order.
    """
    spec, work = plan.spec, plan.work
    x, y = _rows(spec.data, uploaded)
    x = x.reshape(len(x), -1)
    x = _scaled(x, spec.data.scale, work.train_rows).astype(spec.training.precision)
    x = x.reshape(len(x), *plan.shape.input_shape)
    if plan.objective.classes is None:
        y = y.reshape(len(y), *plan.shape.target_shape).astype(spec.training.precision)
    first, last = slice(None, work.train_rows), slice(len(x) - work.validation_rows, None)
    return Data(x[first], y[first], x[last], y[last])


def _rows(data: DataSpec, uploaded: tuple[Floats, Labels] | None) -> tuple[Floats, Labels]:
    if data.seed is None:
        raise ValueError("the spec is not resolved: data.seed is open")
    random = generator(data.seed, Stream.DATA)
    if isinstance(data, RandomData):
        x = random.random((data.samples, data.features))
        return x, random.integers(0, 2, data.samples, dtype=np.int32)
    if isinstance(data, UploadData):
        if uploaded is None:
            raise ValueError("the rows of an uploaded data set are to be handed over")
        return _shuffled(*uploaded, random) if data.shuffle else uploaded
    if isinstance(data, BundledData):
        from sklearn import datasets  # a second to import, and only real data need it

        x, y = getattr(datasets, f"load_{data.source}")(return_X_y=True)
        return _shuffled(x.astype(np.float64), y if data.source == "diabetes" else y.astype(np.int32), random)
    return synthetic.make(data, random)


def _shuffled(x: Floats, y: Labels, random: np.random.Generator) -> tuple[Floats, Labels]:
    order = random.permutation(len(x))
    return x[order], y[order]


def _scaled(x: Floats, scale: Scale, train_rows: int) -> Floats:
    if scale == "none":
        return x
    x = x.astype(np.float64)
    train = x[:train_rows]
    if scale == "standard":
        center, spread = train.mean(axis=0), train.std(axis=0)
    else:
        center, spread = train.min(axis=0), np.ptp(train, axis=0)
    scaled: Floats = (x - center) / np.where(spread > 0, spread, 1.0)  # a constant column becomes 0
    return scaled
