"""Data spec -> arrays."""

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from service.contract.spec import DataSpec, ExperimentSpec, RandomData, Scale
from service.contract.workload import DataShape, data_shape, workload
from worker.training.seeds import Stream, generator

Floats: TypeAlias = npt.NDArray[np.floating]


@dataclass(frozen=True)
class Data:
    """Inputs [rows, features] and labels [rows]: 0 and 1, or class numbers."""

    x_train: Floats
    y_train: npt.NDArray[np.int32]
    x_validation: Floats
    y_validation: npt.NDArray[np.int32]
    shape: DataShape


def load(spec: ExperimentSpec, dtype: str = "float32") -> Data:
    """The data of a resolved spec: shuffled if real, cut as Keras cuts it, then scaled by its training rows."""
    x, y = _rows(spec.data)
    cut = workload(spec).train_rows
    x = _scaled(x, spec.data.scale, cut).astype(dtype)
    return Data(x[:cut], y[:cut], x[cut:], y[cut:], data_shape(spec.data))


def _rows(data: DataSpec) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.int32]]:
    if data.seed is None:
        raise ValueError("the spec is not resolved: data.seed is open")
    random = generator(data.seed, Stream.DATA)
    if isinstance(data, RandomData):
        x = random.random((data.samples, data.features))
        return x, random.integers(0, 2, data.samples, dtype=np.int32)
    from sklearn import datasets  # a second to import, and only real data need it

    x, y = getattr(datasets, f"load_{data.source}")(return_X_y=True)
    order = random.permutation(len(x))
    return x[order].astype(np.float64), y[order].astype(np.int32)


def _scaled(x: npt.NDArray[np.float64], scale: Scale, train_rows: int) -> npt.NDArray[np.float64]:
    train = x[:train_rows]
    if scale == "none":
        return x
    if scale == "standard":
        centre, spread = train.mean(axis=0), train.std(axis=0)
    else:
        centre, spread = train.min(axis=0), np.ptp(train, axis=0)
    scaled: npt.NDArray[np.float64] = (x - centre) / np.where(spread > 0, spread, 1.0)  # a constant column becomes 0
    return scaled
