"""Histories as CSV, NPZ and Parquet files, written block by block: only a few blocks are in memory."""

import csv
import io
import zipfile
from collections.abc import Iterable, Iterator
from itertools import chain

import numpy as np
import numpy.typing as npt

from service.analysis.stored_history import Floats, Gradients
from service.api.http.encoding import json_rows

VALUES_PER_ROW_GROUP = 2**19


def csv_file(blocks: Iterable[Gradients]) -> Iterator[bytes]:
    """A CSV file with a column `step` and one column per variable; there must be at least one block."""
    for number, block in enumerate(blocks):
        if number == 0:
            header = io.StringIO()
            csv.writer(header, lineterminator="\n").writerow(["step", *(v.name for v in block.variables)])
            yield header.getvalue().encode()
        if len(block.steps):
            yield b"\n".join(_lines(block)) + b"\n"


def _lines(block: Gradients) -> Iterable[bytes]:
    steps = json_rows(block.steps)[1:-1].split(b",")
    if not block.variables:
        return steps
    rows = block.values.T
    lines = json_rows(rows).replace(b"null", b"nan")[2:-2].split(b"],[")
    for row in np.flatnonzero(np.isinf(rows).any(axis=1)):  # JSON writes both NaN and infinity as null
        lines[row] = ",".join(map(repr, rows[row].tolist())).encode()
    return map(b",".join, zip(steps, lines, strict=True))


def npz_file(blocks: Iterable[Gradients], count: int) -> Iterator[bytes]:
    """An NPZ file with arrays `names` [variables], `values` [variables, steps] and `steps` [steps].

    There must be at least one block, and `count` is the number of steps of all blocks. `values` is in Fortran order,
    so that the steps of one block are contiguous, as they are in the store.
    """
    sink = _Sink()
    steps: list[npt.NDArray[np.int64]] = []
    with zipfile.ZipFile(sink, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        remaining = iter(blocks)
        first = next(remaining)
        with archive.open("names.npy", "w") as file:
            np.lib.format.write_array(file, np.array([v.name for v in first.variables], np.str_), allow_pickle=False)
        with archive.open("values.npy", "w", force_zip64=True) as file:
            shape = (len(first.variables), count)
            header = {"descr": first.values.dtype.str, "fortran_order": True, "shape": shape}
            np.lib.format.write_array_header_1_0(file, header)
            for block in chain([first], remaining):
                file.write(block.values.T.tobytes())
                steps.append(block.steps)
                yield sink.taken()
        with archive.open("steps.npy", "w") as file:
            np.lib.format.write_array(file, np.concatenate(steps), allow_pickle=False)
    yield sink.taken()


def parquet_file(blocks: Iterable[Gradients]) -> Iterator[bytes]:
    """A Parquet file with a column `step` and one column per variable; there must be at least one block."""
    import pyarrow as pa  # imported on first use: it takes 60 MB
    from pyarrow import parquet

    sink = _Sink()
    writer: parquet.ParquetWriter | None = None
    for group in _groups(blocks):
        steps = np.concatenate([block.steps for block in group])
        values: Floats = np.hstack([block.values for block in group])
        names = ["step", *(variable.name for variable in group[0].variables)]
        table = pa.table([pa.array(column) for column in (steps, *values)], names)
        # Norms rarely repeat: a dictionary would be larger than the values, in the file and in memory.
        writer = writer or parquet.ParquetWriter(sink, table.schema, use_dictionary=False)
        writer.write_table(table)
        yield sink.taken()
    if writer is not None:
        writer.close()
        yield sink.taken()


def _groups(blocks: Iterable[Gradients]) -> Iterator[list[Gradients]]:
    """Group blocks into row groups: a file of many small row groups is large and slow to read."""
    group: list[Gradients] = []
    values = 0
    for block in blocks:
        group.append(block)
        values += block.values.size
        if values >= VALUES_PER_ROW_GROUP:
            yield group
            group, values = [], 0
    if group:
        yield group


class _Sink(io.RawIOBase):
    """A file that is written sequentially; what is written is taken out piece by piece."""

    def __init__(self) -> None:
        self._written: list[bytes] = []
        self._position = 0

    def writable(self) -> bool:
        return True

    def write(self, data: "bytes | memoryview") -> int:  # type: ignore[override]
        self._written.append(bytes(data))
        size = len(self._written[-1])
        self._position += size
        return size

    def tell(self) -> int:
        return self._position

    def taken(self) -> bytes:
        """What was written since the last call."""
        taken = b"".join(self._written)
        self._written.clear()
        return taken
