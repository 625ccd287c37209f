"""Arrays of training and validation samples from the data of a plan."""

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
    """Inputs [samples, …], and class indices (int32) or regression targets (in the inputs' dtype) [samples, …]."""

    x_train: Floats
    y_train: npt.NDArray[np.generic]
    x_validation: Floats
    y_validation: npt.NDArray[np.generic]


def load(plan: Plan, uploaded: tuple[Floats, Labels] | None = None) -> Data:
    """Load or generate the data of a plan.

    Real data are shuffled by the data seed. The last samples are set aside for validation. The scale is computed from
    the training samples alone.

    Args:
        plan: A plan of a resolved spec.
        uploaded: Inputs and labels of an uploaded data set, in its own order.

    Returns:
        Inputs in the precision of the plan and in the shape that the network reads.

    Raises:
        ValueError: If the data seed is not resolved, or if an uploaded data set is missing.
    """
    spec, work = plan.spec, plan.work
    x, y = _samples(spec.data, uploaded)
    x = x.reshape(len(x), -1)
    x = _scaled(x, spec.data.scale, work.train_rows).astype(spec.training.precision)
    x = x.reshape(len(x), *plan.shape.input_shape)
    if plan.objective.classes is None:
        y = y.reshape(len(y), *plan.shape.target_shape).astype(spec.training.precision)
    training, validation = slice(None, work.train_rows), slice(len(x) - work.validation_rows, None)
    return Data(x[training], y[training], x[validation], y[validation])


def _samples(data: DataSpec, uploaded: tuple[Floats, Labels] | None) -> tuple[Floats, Labels]:
    if data.seed is None:
        raise ValueError("the spec is not resolved: data.seed is missing")
    random = generator(data.seed, Stream.DATA)
    if isinstance(data, RandomData):
        x = random.random((data.samples, data.features))
        return x, random.integers(0, 2, data.samples, dtype=np.int32)
    if isinstance(data, UploadData):
        if uploaded is None:
            raise ValueError("the samples of the uploaded data set are missing")
        return _shuffled(*uploaded, random) if data.shuffle else uploaded
    if isinstance(data, BundledData):
        from sklearn import datasets  # takes a second to import, and other data do without

        x, y = getattr(datasets, f"load_{data.source}")(return_X_y=True)
        return _shuffled(x.astype(np.float64), y if data.source == "diabetes" else y.astype(np.int32), random)
    return synthetic.make(data, random)


def _shuffled(x: Floats, y: Labels, random: np.random.Generator) -> tuple[Floats, Labels]:
    order = random.permutation(len(x))
    return x[order], y[order]


def _scaled(x: Floats, scale: Scale, train_samples: int) -> Floats:
    """Scale each column of `x` [samples, features] by its first `train_samples` values; a constant column becomes 0."""
    if scale == "none":
        return x
    x = x.astype(np.float64)
    train = x[:train_samples]
    if scale == "standard":
        center, spread = train.mean(axis=0), train.std(axis=0)
    else:
        center, spread = train.min(axis=0), np.ptp(train, axis=0)
    scaled: Floats = (x - center) / np.where(spread > 0, spread, 1.0)
    return scaled
