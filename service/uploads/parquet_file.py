"""Reads Apache Parquet files batch by batch, after a check of the sizes that they declare."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import SEEK_END
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from service.contract.errors import BadUpload
from service.uploads.table import (
    Coded,
    Table,
    Task,
    TextLabels,
    UploadLimits,
    check_column_names,
    first_unusable,
    label_position,
    labeled,
    what_is_wrong,
)
from service.uploads.thrift import Fields, Reader

MAGIC = b"PAR1"
MAX_FOOTER = 2**24  # bytes; 20,000 columns with the metadata of pandas take 11 MB
BATCH_BYTES = 2**24
BATCH_ROWS = 2**16
ENCODED = 2  # encoded bytes allowed per decoded byte: levels, headers and dictionaries take space
MAX_PAGES = 250_000
PAGE_HEADERS = (2**12, 2**20)  # bytes to read for the header of a page: first attempt, second attempt
MAX_ELEMENTS = 2_000_000  # of lists in the footer, a struct counts as four; a column in a row group has about 20
TEXT_DELTAS = {6, 7}  # encodings in which a few bytes can decode to gigabytes

# Field ids of parquet.thrift: FileMetaData, RowGroup, ColumnChunk, ColumnMetaData and PageHeader.
ALL_ROWS, ROW_GROUPS = 3, 4
COLUMNS, ROWS = 1, 3
META_DATA = 3
UNPACKED, PACKED, DATA_PAGE, DICTIONARY_PAGE = 6, 7, 9, 11
PAGE_UNPACKED, PAGE_PACKED = 2, 3
DATA_PAGE_ENCODINGS = ((5, 2), (8, 4))  # DataPageHeader and its second version
FOOTER: Fields = {
    ALL_ROWS: {},
    ROW_GROUPS: {
        COLUMNS: {META_DATA: {UNPACKED: {}, PACKED: {}, DATA_PAGE: {}, DICTIONARY_PAGE: {}}},
        ROWS: {},
    },
}
PAGE: Fields = {PAGE_UNPACKED: {}, PAGE_PACKED: {}} | {kind: {field: {}} for kind, field in DATA_PAGE_ENCODINGS}


def read_parquet(file: BinaryIO, label: str | None, task: Task, limits: UploadLimits) -> Table:
    """Read a Parquet file of flat columns.

    Args:
        file: The file, open for reading bytes.
        label: Name of the column of labels; the last column if None.
        task: How to read the labels.
        limits: Checked by the declared sizes, and again while the file is decoded.

    Raises:
        BadUpload: The message names row and column. Rows are counted from 1 over all row groups, row groups from 0.
    """
    size = _check_ends(file)
    import pyarrow as pa  # imported here, because it takes 60 MB
    import pyarrow.parquet as pq

    groups = _row_groups(file, size)
    bounds = {"thrift_string_size_limit": MAX_FOOTER, "thrift_container_size_limit": 10 * (limits.columns + 1)}
    with _named("the footer"):
        metadata = pq.ParquetFile(pa.PythonFile(file, mode="r"), **bounds).metadata
        schema = metadata.schema.to_arrow_schema()
    names = list(schema.names)
    if not names:
        raise BadUpload("the file has no columns")
    limits.check(0, len(names) - 1, 0)
    check_column_names(names)
    position = label_position(names, label)
    if label is None and names[position].startswith("__index_level_"):
        raise BadUpload(
            f"the last column, {names[position]!r}, is a pandas index: name the label column, or write the file with "
            "index=False"
        )
    file_names = list(names)
    label = names.pop(position)
    kinds = [_kind(pa, field, label) for field in schema]
    label_kind = kinds.pop(position)
    _check_sizes(groups, names, kinds, limits)
    _check_pages(file, groups, file_names, limits)

    with _named("the footer"):
        options = {"read_dictionary": [label]} if label_kind is None else {}
        source = pq.ParquetFile(pa.PythonFile(file, mode="r"), metadata=metadata, **bounds, **options)
    single = all(kind in (np.float32, np.float16) for kind in kinds)
    rows = sum(group.rows for group in groups)
    x = np.empty((rows, len(names)), "<f4" if single else "<f8")
    texts = TextLabels() if label_kind is None else None
    y = np.empty(0 if label_kind is None else rows, "<f8" if label_kind is None else _wide(label_kind))
    for group, at, batch in _batches(source, groups, limits):
        if at + batch.num_rows > rows:
            raise BadUpload(f"row group {group} has more rows than the footer declares")
        columns = batch.columns
        labels = columns.pop(position)
        for column, (name, values) in enumerate(zip(names, columns, strict=True)):
            x[at : at + batch.num_rows, column] = _numbers(values, at, group, name)
        if texts is not None:
            _check_nulls(labels, at, group, label)
            texts.extend(_texts(labels), lambda row, group=group: _place(row, group, label))  # type: ignore[misc]
        else:
            y[at : at + batch.num_rows] = _numbers(labels, at, group, label)
    found: NDArray[Any] | Coded = y if texts is None else texts.coded()
    return labeled(x, found, task, columns=tuple(names), label=label)


@contextmanager
def _named(place: str) -> Iterator[None]:
    """Turn any error of pyarrow into a BadUpload that names the place."""
    try:
        yield
    except BadUpload:
        raise
    except Exception as error:
        reason = (str(error) or type(error).__name__).splitlines()[0][:300]
        raise BadUpload(f"{place} cannot be read: {reason}") from None


def _place(row: int, group: int, column: str) -> str:
    return f"row {row + 1} (row group {group}), column {column!r}"


def _check_ends(file: BinaryIO) -> int:
    size = file.seek(0, SEEK_END) or file.tell()  # seek() of a spooled file returns None
    file.seek(0)
    if file.read(4) != MAGIC:
        raise BadUpload("the file does not begin with PAR1: it must be an unencrypted Parquet file")
    file.seek(max(size - 8, 0))
    end = file.read(8)
    if size < 12 or not end.endswith(MAGIC):
        raise BadUpload(
            f"the footer is missing: the file ends after {size:,} bytes without PAR1; check that the file is complete"
        )
    footer = int.from_bytes(end[:4], "little")
    if footer > size - 12:
        raise BadUpload(f"the footer claims {footer:,} bytes, but the whole file has {size:,}")
    if footer > MAX_FOOTER:
        raise BadUpload(f"the footer has {footer:,} bytes, at most {MAX_FOOTER:,} allowed")
    return size


def _kind(pa: Any, field: Any, label: str) -> np.dtype[Any] | None:
    """Return the NumPy dtype of a column of numbers; None for text, which is allowed for the label only."""
    kind = field.type
    if pa.types.is_boolean(kind) or pa.types.is_integer(kind) or pa.types.is_floating(kind):
        dtype: np.dtype[Any] = np.dtype(kind.to_pandas_dtype())
        return dtype
    text = kind.value_type if pa.types.is_dictionary(kind) else kind
    is_text = pa.types.is_string(text) or pa.types.is_large_string(text)
    if is_text and field.name == label:
        return None
    if is_text:
        raise BadUpload(f"column {field.name!r} has text, which is allowed for the label only; the label is {label!r}")
    raise BadUpload(f"column {field.name!r} has the unsupported type {str(kind)[:100]}; use numbers or true/false")


def _wide(kind: np.dtype[Any]) -> np.dtype[Any]:
    """Return the dtype in which labels of this dtype are collected."""
    return np.dtype("<f8") if kind.kind == "f" else kind


@dataclass(frozen=True)
class _Chunk:
    """The pages of a column in a row group: first byte, length in the file, and length when decompressed."""

    begin: int
    length: int
    unpacked: int


@dataclass(frozen=True)
class _Group:
    rows: int
    chunks: list[_Chunk]


def _row_groups(file: BinaryIO, size: int) -> list[_Group]:
    """Return what the footer declares. No size is negative, and no column reaches beyond the file."""
    file.seek(size - 8)
    length = int.from_bytes(file.read(4), "little")
    file.seek(size - 8 - length)
    try:
        footer = Reader(file.read(length), MAX_ELEMENTS).struct(FOOTER)
        groups = [
            _Group(_size(group, ROWS), [_chunk(column[META_DATA]) for column in group[COLUMNS]])
            for group in footer[ROW_GROUPS]
        ]
    except IndexError:
        raise BadUpload("the footer cannot be read: it ends too early") from None
    except (KeyError, TypeError):
        raise BadUpload("the footer cannot be read: a field is missing or has the wrong type") from None
    except ValueError as error:
        raise BadUpload(f"the footer cannot be read: {error}") from None
    if sum(group.rows for group in groups) != footer.get(ALL_ROWS):
        raise BadUpload("the footer contradicts itself: the row groups have another number of rows than the file")
    for number, group in enumerate(groups):
        for column, chunk in enumerate(group.chunks, 1):
            if chunk.begin + chunk.length > size:
                raise BadUpload(
                    f"row group {number} declares column {column} in bytes {chunk.begin:,} to"
                    f" {chunk.begin + chunk.length:,} of {size:,}; check that the file is complete"
                )
    return groups


def _chunk(column: dict[int, Any]) -> _Chunk:
    begin = _size(column, DATA_PAGE)
    if 0 < column.get(DICTIONARY_PAGE, 0) < begin:
        begin = column[DICTIONARY_PAGE]
    return _Chunk(begin, _size(column, PACKED), _size(column, UNPACKED))


def _size(fields: dict[int, Any], number: int) -> int:
    size: int = fields[number]
    if size < 0:
        raise ValueError(f"a size is {size:,}")
    return size


def _check_sizes(groups: list[_Group], names: list[str], kinds: list[Any], limits: UploadLimits) -> None:
    """Check the sizes that the footer declares, before anything is decoded."""
    rows = sum(group.rows for group in groups)
    cell = 4 if all(kind in (np.float32, np.float16) for kind in kinds) else 8
    limits.check(rows, len(names), rows * (len(names) * cell + 8))
    allowed = ENCODED * limits.data_bytes
    total = 0
    for number, group in enumerate(groups):
        if len(group.chunks) != len(names) + 1:
            raise BadUpload(
                f"row group {number} has {len(group.chunks):,} columns, but the file has {len(names) + 1:,}"
            )
        total += sum(chunk.unpacked for chunk in group.chunks)
        if total > allowed:
            raise BadUpload(f"row groups up to {number} declare {total:,} bytes, at most {allowed:,} allowed")


def _check_pages(file: BinaryIO, groups: list[_Group], names: list[str], limits: UploadLimits) -> None:
    """Check the sizes that the headers of the pages declare: pyarrow allocates them, whatever the footer declares."""
    allowed = ENCODED * limits.data_bytes
    total = pages = 0
    for number, group in enumerate(groups):
        for name, chunk in zip(names, group.chunks, strict=True):
            where = f"row group {number}, column {name!r}"
            at, end = chunk.begin, chunk.begin + chunk.length
            while at < end:
                header, content = _page_header(file, at, end, where)
                unpacked, packed = header.get(PAGE_UNPACKED), header.get(PAGE_PACKED)
                if not isinstance(unpacked, int) or not isinstance(packed, int):
                    raise BadUpload(f"{where} has a page at byte {at:,} without a size")
                if unpacked < 0 or not 0 <= packed <= end - content:
                    raise BadUpload(f"{where} has a page at byte {at:,} of {packed:,} bytes, unpacked {unpacked:,}")
                encodings = {(header.get(kind) or {}).get(field) for kind, field in DATA_PAGE_ENCODINGS}
                if encodings & TEXT_DELTAS:
                    raise BadUpload(f"{where} is text in a delta encoding; write it plain or with a dictionary")
                total += unpacked
                pages += 1
                if total > allowed:
                    raise BadUpload(f"{where} brings the file to {total:,} bytes, at most {allowed:,} allowed")
                if pages > MAX_PAGES:
                    raise BadUpload(f"{where} has page {pages:,} of the file, at most {MAX_PAGES:,} allowed")
                at = content + packed


def _page_header(file: BinaryIO, at: int, end: int, where: str) -> tuple[dict[int, Any], int]:
    """Return the header of the page at this offset, and the offset of its content."""
    for window in PAGE_HEADERS:
        file.seek(at)
        reader = Reader(file.read(min(window, end - at)), window)
        try:
            header = reader.struct(PAGE)
        except IndexError:
            continue
        except ValueError:
            break
        if all(isinstance(header.get(kind, {}), dict) for kind, _ in DATA_PAGE_ENCODINGS):
            return header, at + reader.at
    raise BadUpload(f"{where} has a page at byte {at:,} whose header cannot be read")


def _batches(source: Any, groups: list[_Group], limits: UploadLimits) -> Iterator[tuple[int, int, Any]]:
    """Yield (row group, rows before, batch). A batch has at most 16 MiB, text not included."""
    allowed = ENCODED * limits.data_bytes
    at = decoded = 0
    for group, declared in enumerate(groups):
        rows = max(1, min(BATCH_ROWS, BATCH_BYTES // (8 * len(declared.chunks))))
        end = at + declared.rows
        with _named(f"row group {group}"):
            batches = source.iter_batches(rows, row_groups=[group], use_threads=False)
        while True:
            with _named(f"row group {group}"):
                batch = next(batches, None)
                if batch is None:
                    break
                batch.validate(full=True)  # text in UTF-8, codes within the dictionary
            decoded += batch.nbytes
            if decoded > allowed:
                raise BadUpload(f"row group {group} decodes to more than the {allowed:,} bytes allowed in all")
            yield group, at, batch
            at += batch.num_rows
        if at != end:
            raise BadUpload(f"row group {group} ends at row {at:,}, but the footer declares row {end:,}")


def _check_nulls(values: Any, at: int, group: int, column: str) -> None:
    if values.null_count:
        row = int(np.argmax(values.is_null().to_numpy(zero_copy_only=False)))
        raise BadUpload(f"{_place(at + row, group, column)} is null; every cell needs a value")


def _numbers(values: Any, at: int, group: int, column: str) -> NDArray[Any]:
    _check_nulls(values, at, group, column)
    numbers: NDArray[Any] = values.to_numpy(zero_copy_only=False)
    numbers = numbers.astype("<f4") if numbers.dtype == np.float16 else numbers
    bad = first_unusable(numbers)
    if bad is not None:
        raise BadUpload(f"{_place(at + bad, group, column)} {what_is_wrong(numbers[bad])}")
    return numbers


def _texts(labels: Any) -> Iterator[str]:
    """Yield the text of each row of a dictionary array; unused entries of the dictionary are never decoded."""
    text_of: dict[int, str] = {}
    for code in labels.indices.to_pylist():
        text = text_of.get(code)
        if text is None:
            text = text_of[code] = labels.dictionary[code].as_py()
        yield text
