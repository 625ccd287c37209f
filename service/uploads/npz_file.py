"""NumPy archives of two arrays, x and y: sizes are checked before a byte of data is read, and nothing is unpickled."""

import math
import re
import struct
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from io import SEEK_SET
from typing import IO, Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from service.contract.errors import BadUpload
from service.uploads.table import (
    Coded,
    Table,
    Task,
    TextLabels,
    UploadLimits,
    first_unusable,
    labeled,
    listed,
    what_is_wrong,
)

MEMBERS = ("x.npy", "y.npy")
CHUNK = 2**18  # bytes read at a time, and the largest directory of an archive: one of two members has 200
MAX_HEADER = 10_000  # characters of an array's header; NumPy's own limit
ENCRYPTED = 0x41  # flag bits: encrypted, strongly encrypted
TEXT = "SU"
# What `zipfile` and `zlib` raise over a damaged archive; NotImplementedError is a RuntimeError.
UNREADABLE = (zipfile.BadZipFile, zlib.error, struct.error, EOFError, RuntimeError, ValueError, OverflowError)

_MAGIC = re.compile(rb"\x93NUMPY([\x01-\x03])\x00", re.DOTALL)
# numpy.lib.format's dictionary of three entries. Its own reader evaluates it as Python, warns of what old versions
# wrote, and reads as many bytes as the header says before it looks how many these are.
_ENTRY = re.compile(
    r"""\s*(['"])(?P<key>descr|fortran_order|shape)\1\s*:\s*"""
    r"""(?:(['"])(?P<text>[^'"]*)\3|(?P<flag>True|False)|\((?P<numbers>[\d\s,]*)\))\s*(?:,|(?=\}))""",
    re.ASCII,
)
_DTYPE = re.compile(r"([<>=|]?)(?:(b1|[iu][1248]|f[248])|([SU])(\d{1,9}))", re.ASCII)


def read_npz(file: BinaryIO, task: Task, limits: UploadLimits) -> Table:
    """The table in what `numpy.savez(file, x=…, y=…)` writes, or `savez_compressed`."""
    with ExitStack() as stack:
        with _named("the archive"):
            archive = stack.enter_context(zipfile.ZipFile(_Bounded(file)))
        members = _members(archive)
        opened: dict[str, tuple[IO[bytes], _Header]] = {}
        for name in MEMBERS:
            with _named(name):
                member = stack.enter_context(archive.open(members[name]))
                opened[name] = member, _header(name, member, members[name].file_size)
        (x_member, x_header), (y_member, y_header) = (opened[name] for name in MEMBERS)
        _check(x_header, y_header, limits)
        with _named("x.npy"):
            x = _numbers("x", x_member, x_header)
        with _named("y.npy"):
            y = _texts(y_member, y_header) if y_header.dtype.kind in TEXT else _numbers("y", y_member, y_header)
    return labeled(x, y, task, place=lambda row: f"y[{row}]")


class _Bounded:
    """A file that is read in small pieces: `zipfile` reads as large a directory as an archive claims to have."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file

    def read(self, size: int = -1) -> bytes:
        if size > CHUNK:
            raise BadUpload(f"the archive has a directory of {size:,} bytes: it holds more than x.npy and y.npy")
        return self._file.read(CHUNK if size < 0 else size)

    def seek(self, offset: int, whence: int = SEEK_SET) -> int:
        if whence == SEEK_SET and offset < 0:
            raise zipfile.BadZipFile("a position before the file's first byte")
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        return self._file.tell()

    def seekable(self) -> bool:
        return True


@contextmanager
def _named(place: str) -> Iterator[None]:
    try:
        yield
    except UNREADABLE as error:
        raise BadUpload(f"{place} cannot be read: {str(error) or 'it ends too early'}") from None


def _members(archive: zipfile.ZipFile) -> dict[str, zipfile.ZipInfo]:
    infos = archive.infolist()
    others = [info.filename for info in infos if info.filename not in MEMBERS]
    if others:
        raise BadUpload(f"the archive holds {listed(others)}; x.npy and y.npy are read, and nothing else may be there")
    members = {info.filename: info for info in infos}
    for name in MEMBERS:
        if name not in members:
            raise BadUpload(f"the archive holds no {name}")
        if sum(info.filename == name for info in infos) > 1:
            raise BadUpload(f"the archive holds {name} more than once")
        if members[name].flag_bits & ENCRYPTED:
            raise BadUpload(f"{name} is encrypted")
        if members[name].compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise BadUpload(f"{name} is compressed by another method than deflate")
    return members


@dataclass(frozen=True)
class _Header:
    """What an array claims to be; no more than a claim until its bytes were read."""

    dtype: np.dtype[Any]
    fortran_order: bool
    shape: tuple[int, ...]
    stored_bytes: int  # of the member, its header apart, as the archive declares it

    @property
    def claimed_bytes(self) -> int:
        return math.prod(self.shape) * self.dtype.itemsize

    @property
    def decoded(self) -> np.dtype[Any]:
        """What the array is read as. Labels stay whole, large whole numbers being distinct classes."""
        kind, size = self.dtype.kind, self.dtype.itemsize
        if kind in TEXT:
            return np.dtype("<i4")
        if kind == "f":
            return np.dtype("<f8" if size == 8 else "<f4")
        return np.dtype("<f8")

    def __str__(self) -> str:
        return f"shape {self.shape} of {self.dtype.name}"


def _header(name: str, member: IO[bytes], size: int) -> _Header:
    start = member.read(10)
    magic = _MAGIC.match(start)
    if magic is None or len(start) < 10:
        raise BadUpload(f"{name} is no .npy array: it begins with {start[:8]!r}")
    if magic[1] == b"\1":
        begins, length = 10, int.from_bytes(start[8:], "little")
    else:
        begins, length = 12, int.from_bytes(start[8:] + member.read(2), "little")
    if length > MAX_HEADER:
        raise BadUpload(f"{name} has a header of {length:,} bytes, at most {MAX_HEADER:,} allowed")
    raw = member.read(length)
    if len(raw) < length:
        raise EOFError
    text = raw.decode("utf8" if magic[1] == b"\3" else "latin1")
    dtype, fortran_order, shape = _claims(name, text)
    return _Header(dtype, fortran_order, shape, size - begins - length)


def _claims(name: str, text: str) -> tuple[np.dtype[Any], bool, tuple[int, ...]]:
    unreadable = BadUpload(f"{name} has a header that cannot be read: {text[:100].strip()!a}")
    if re.search(r"""['"]descr['"]\s*:\s*\[""", text):
        raise BadUpload(f"{name} is an array of records; it must be of plain numbers")
    found: dict[str, re.Match[str]] = {}
    position = 1
    while entry := _ENTRY.match(text, position):
        found[entry["key"]] = entry
        position = entry.end()
    if not text.startswith("{") or text[position:].strip() != "}" or len(found) < 3:
        raise unreadable
    descr, flag, numbers = found["descr"]["text"], found["fortran_order"]["flag"], found["shape"]["numbers"]
    if descr is None or flag is None or numbers is None:
        raise unreadable
    if "O" in descr:
        raise BadUpload(f"{name} is an array of Python objects, which are never unpickled; store numbers or text")
    known = _DTYPE.fullmatch(descr)
    if known is None:
        raise BadUpload(f"{name} is of dtype {descr[:50]!a}; numbers of up to 64 bits, and text in y, are read")
    sizes = [size.strip() for size in numbers.split(",")]
    if sizes[-1] == "":
        sizes.pop()  # (5,) and (5, 2,)
    if not all(0 < len(size) < 20 for size in sizes):
        raise unreadable
    order, plain, kind, length = known.groups()
    try:
        return np.dtype(f"{order}{plain or kind + length}"), flag == "True", tuple(int(size) for size in sizes)
    except (TypeError, ValueError):  # a text too long for NumPy; digits apart by blanks
        raise unreadable from None


def _check(x: _Header, y: _Header, limits: UploadLimits) -> None:
    """Refuse what cannot be a table, or not one within the limits."""
    for name, header in zip(MEMBERS, (x, y), strict=True):
        if header.claimed_bytes > limits.data_bytes:
            raise BadUpload(
                f"{name} claims {header}: {header.claimed_bytes:,} bytes, at most {limits.data_bytes:,} allowed"
            )
        if 0 in header.shape or header.dtype.itemsize == 0:
            raise BadUpload(f"{name} is empty: {header}")
    if x.dtype.kind in TEXT:
        raise BadUpload(f"x.npy is {x}; inputs are numbers")
    if not 2 <= len(x.shape) <= 4:
        raise BadUpload(f"x.npy is {x}: [rows, columns] is needed, or [rows, …] of four dimensions at most")
    if len(y.shape) not in (1, 2):
        raise BadUpload(f"y.npy is {y}: a label a row is needed, [rows], or [rows, targets]")
    if len(y.shape) == 2 and y.shape[1] > 1 and y.dtype.kind != "f":
        raise BadUpload(f"y.npy is {y}: several targets a row must be floats")
    if x.shape[0] != y.shape[0]:
        raise BadUpload(f"x.npy has {x.shape[0]:,} rows, y.npy {y.shape[0]:,}")
    if y.dtype.itemsize > CHUNK:
        raise BadUpload(f"y.npy is {y}; a label is shorter")
    decoded = sum(math.prod(header.shape) * header.decoded.itemsize for header in (x, y))
    limits.check(x.shape[0], max(math.prod(header.shape[1:]) for header in (x, y)), decoded)
    for name, header in zip(MEMBERS, (x, y), strict=True):
        if header.claimed_bytes != header.stored_bytes:
            raise BadUpload(
                f"{name} claims {header}, {header.claimed_bytes:,} bytes; the archive says that it holds"
                f" {header.stored_bytes:,}"
            )


def _chunks(member: IO[bytes], header: _Header) -> Iterator[tuple[int, NDArray[Any]]]:
    """The array's items in the order of the file, and how many came before."""
    size = header.dtype.itemsize
    at, total = 0, math.prod(header.shape)
    while at < total:
        items = min(max(1, CHUNK // size), total - at)
        content = member.read(items * size)  # the last piece includes the check of the sum over all
        if len(content) < items * size:
            raise EOFError
        yield at, np.frombuffer(content, dtype=header.dtype)
        at += items


def _numbers(name: str, member: IO[bytes], header: _Header) -> NDArray[Any]:
    kind = header.dtype.kind
    dtype = header.decoded if name == "x" or kind == "f" else header.dtype.newbyteorder("<")
    # A number after the other in the file's order, wherever it belongs in C order: no second copy for Fortran's.
    numbers = np.empty(header.shape, dtype)
    flat = numbers.T.flat if header.fortran_order else numbers.reshape(-1)
    for at, chunk in _chunks(member, header):
        # A byte that is neither 0 nor 1 makes no bool that NumPy knows how to deal with.
        items = (chunk.view(np.uint8) != 0) if kind == "b" else chunk
        with np.errstate(invalid="ignore"):  # a NaN that signals is found all the same
            items = items.astype(dtype, copy=False)
        bad = first_unusable(items)
        if bad is not None:
            index = np.unravel_index(at + bad, header.shape, order="F" if header.fortran_order else "C")
            raise BadUpload(f"{name}[{', '.join(str(i) for i in index)}] {what_is_wrong(items[bad])}")
        flat[at : at + len(items)] = items
    return numbers[:, 0] if name == "y" and header.shape[1:] == (1,) else numbers


def _texts(member: IO[bytes], header: _Header) -> Coded:
    labels = TextLabels()
    for at, chunk in _chunks(member, header):
        try:
            texts = [item.decode() if isinstance(item, bytes) else item for item in chunk.tolist()]
        except ValueError:  # bytes that are not UTF-8, numbers that are no characters
            raise BadUpload(f"y[{at}:{at + len(chunk)}] holds text that cannot be read") from None
        labels.extend(texts, lambda row: f"y[{row}]")
    return labels.coded()
