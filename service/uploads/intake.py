"""The use case of uploads: reads a file and stores its data set."""

from typing import BinaryIO

import numpy as np

from service.contract.data_spec import DataShape
from service.contract.errors import BadUpload
from service.contract.media_types import CSV, NPZ, PARQUET
from service.store.datasets import Dataset, DatasetDescription, Datasets
from service.store.ids import new_id
from service.uploads.csv_file import read_csv
from service.uploads.npz_file import read_npz
from service.uploads.parquet_file import read_parquet
from service.uploads.table import Numbers, Table, Task, UploadLimits

MEDIA_TYPES = (CSV, NPZ, PARQUET)
BY_SUFFIX = {".csv": CSV, ".npz": NPZ, ".parquet": PARQUET}
MAX_TOKENS = 2**31
BLOCK = 2**20  # values that are checked together


class Intake:
    """Reads uploaded files and stores their data sets."""

    def __init__(self, datasets: Datasets, limits: UploadLimits, max_bytes: int) -> None:
        self._datasets = datasets
        self._limits = limits
        self._max_bytes = max_bytes

    def of(self, tenant: str) -> "Intake":
        """Return the use case for one tenant."""
        return Intake(self._datasets.of(tenant), self._limits, self._max_bytes)

    def take(self, file: BinaryIO, media_type: str, name: str | None, label: str | None, task: Task) -> Dataset:
        """Store the data set in a file.

        Args:
            file: The file, open for reading bytes.
            media_type: One of MEDIA_TYPES.
            name: Name of the data set.
            label: Name of the column of labels; the last column if None.
            task: How to read the labels.

        Raises:
            BadUpload: The message names the place in the file.
            StoreFull: All data sets together would take more than `max_bytes`.
        """
        table = self._read(file, media_type, label, task)
        dataset_id = new_id()
        x, y = table.x.data.cast("B"), table.y.data.cast("B")  # views, because the arrays are large
        self._datasets.add(dataset_id, _described(table, name), x, y, self._max_bytes)
        return self._datasets.get(dataset_id)

    def _read(self, file: BinaryIO, media_type: str, label: str | None, task: Task) -> Table:
        if media_type == CSV:
            return read_csv(file, label, task, self._limits)
        if media_type == PARQUET:
            return read_parquet(file, label, task, self._limits)
        if label is not None:
            raise BadUpload("an NPZ file has no columns: its labels are the array y; leave the label out", ("label",))
        return read_npz(file, task, self._limits)


def _described(table: Table, name: str | None) -> DatasetDescription:
    classes = table.classes
    shape = DataShape(
        samples=len(table.x),
        input_shape=table.x.shape[1:],
        target_shape=() if classes is not None else (table.y.shape[1:] or (1,)),
        classes=len(classes) if classes is not None else None,
        class_names=classes,
        tokens=_tokens(table.x),
    )
    return DatasetDescription(
        name=name,
        shape=shape,
        label=table.label,
        columns=table.columns,
        rows_a_class=tuple(np.bincount(table.y, minlength=len(classes)).tolist()) if classes is not None else None,
        x_format="<f4" if table.x.dtype == np.float32 else "<f8",
        y_format="<i4" if classes is not None else "<f8",
    )


def _tokens(x: Numbers) -> int | None:
    """Return the largest value plus 1 if all values are integers of at least 0, else None."""
    flat = x.reshape(-1)
    for start in range(0, len(flat), BLOCK):
        part = flat[start : start + BLOCK]
        if part.min() < 0 or np.any(part != np.floor(part)):
            return None
    largest = int(flat.max())
    return largest + 1 if largest < MAX_TOKENS else None
