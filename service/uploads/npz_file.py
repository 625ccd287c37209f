"""Reads NumPy archives of two arrays, x and y. Sizes are checked before data are read; nothing is unpickled."""

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
CHUNK = 2**18  # bytes per read, and the largest directory of an archive; that of two members has 200 bytes
MAX_HEADER = 10_000  # characters of an array's header; also the limit of NumPy
ENCRYPTED = 0x41  # flag bits: encrypted, strongly encrypted
TEXT = "SU"
# Errors of `zipfile` and `zlib` about a damaged archive; NotImplementedError is a RuntimeError.
UNREADABLE = (zipfile.BadZipFile, zlib.error, struct.error, EOFError, RuntimeError, ValueError, OverflowError)

_MAGIC = re.compile(rb"\x93NUMPY([\x01-\x03])\x00", re.DOTALL)
# The header is a Python dictionary of three entries. NumPy's reader evaluates it as Python, warns about old formats,
# and reads as many bytes as the header claims before it checks the number.
_ENTRY = re.compile(
    r"""\s*(['"])(?P<key>descr|fortran_order|shape)\1\s*:\s*"""
    r"""(?:(['"])(?P<text>[^'"]*)\3|(?P<flag>True|False)|\((?P<numbers>[\d\s,]*)\))\s*(?:,|(?=\}))""",
    re.ASCII,
)
_DTYPE = re.compile(r"([<>=|]?)(?:(b1|[iu][1248]|f[248])|([SU])(\d{1,9}))", re.ASCII)


def read_npz(file: BinaryIO, task: Task, limits: UploadLimits) -> Table:
    """Read a file that `numpy.savez(file, x=..., y=...)` or `savez_compressed` wrote.

    Args:
        file: The file, open for reading bytes.
        task: How to read the labels.
        limits: Checked by the declared sizes, before the arrays are read.

    Raises:
        BadUpload: The message names the array, and the index of a bad value.
    """
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
    """Limits the size of a read: `zipfile` reads a directory of any size that an archive claims."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file

    def read(self, size: int = -1) -> bytes:
        if size > CHUNK:
            raise BadUpload(f"the archive has a directory of {size:,} bytes: it must hold x.npy and y.npy only")
        return self._file.read(CHUNK if size < 0 else size)

    def seek(self, offset: int, whence: int = SEEK_SET) -> int:
        if whence == SEEK_SET and offset < 0:
            raise zipfile.BadZipFile("a position before the first byte of the file")
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
        raise BadUpload(f"the archive holds {listed(others)}; it must hold x.npy and y.npy only")
    members = {info.filename: info for info in infos}
    for name in MEMBERS:
        if name not in members:
            raise BadUpload(f"the archive lacks {name}")
        if sum(info.filename == name for info in infos) > 1:
            raise BadUpload(f"the archive holds {name} more than once")
        if members[name].flag_bits & ENCRYPTED:
            raise BadUpload(f"{name} is encrypted; send it unencrypted")
        if members[name].compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise BadUpload(f"{name} has an unsupported compression; use numpy.savez or numpy.savez_compressed")
    return members


@dataclass(frozen=True)
class _Header:
    """What the header of an array claims."""

    dtype: np.dtype[Any]
    fortran_order: bool
    shape: tuple[int, ...]
    stored_bytes: int  # bytes of the array as the archive declares them

    @property
    def claimed_bytes(self) -> int:
        return math.prod(self.shape) * self.dtype.itemsize

    @property
    def decoded(self) -> np.dtype[Any]:
        """The dtype of the array in memory; `_numbers` keeps integer labels as integers."""
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
        raise BadUpload(f"{name} is not an .npy array: it begins with {start[:8]!r}")
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
        raise BadUpload(f"{name} is an array of records; it must be an array of numbers")
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
        raise BadUpload(f"{name} is an array of Python objects, which are never unpickled; save numbers or text")
    known = _DTYPE.fullmatch(descr)
    if known is None:
        raise BadUpload(f"{name} has the unsupported dtype {descr[:50]!a}; save numbers of up to 64 bits, or text in y")
    sizes = [size.strip() for size in numbers.split(",")]
    if sizes[-1] == "":
        sizes.pop()  # (5,) and (5, 2,)
    if not all(0 < len(size) < 20 for size in sizes):
        raise unreadable
    order, plain, kind, length = known.groups()
    try:
        return np.dtype(f"{order}{plain or kind + length}"), flag == "True", tuple(int(size) for size in sizes)
    except (TypeError, ValueError):  # a text too long for NumPy, or digits separated by blanks
        raise unreadable from None


def _check(x: _Header, y: _Header, limits: UploadLimits) -> None:
    """Check the headers: shapes, dtypes and limits."""
    for name, header in zip(MEMBERS, (x, y), strict=True):
        if header.claimed_bytes > limits.data_bytes:
            raise BadUpload(
                f"{name} claims {header}: {header.claimed_bytes:,} bytes, at most {limits.data_bytes:,} allowed"
            )
        if 0 in header.shape or header.dtype.itemsize == 0:
            raise BadUpload(f"{name} is empty: {header}")
    if x.dtype.kind in TEXT:
        raise BadUpload(f"x.npy has {x}; inputs must be numbers")
    if not 2 <= len(x.shape) <= 4:
        raise BadUpload(f"x.npy has {x}: it must be [samples, ...] with two to four dimensions")
    if len(y.shape) not in (1, 2):
        raise BadUpload(f"y.npy has {y}: it must be [samples] or [samples, targets]")
    if len(y.shape) == 2 and y.shape[1] > 1 and y.dtype.kind != "f":
        raise BadUpload(f"y.npy has {y}: several targets per sample must be floats")
    if x.shape[0] != y.shape[0]:
        raise BadUpload(f"x.npy has {x.shape[0]:,} samples, but y.npy has {y.shape[0]:,}")
    if y.dtype.itemsize > CHUNK:
        raise BadUpload(f"y.npy has {y}: each label has too many characters")
    decoded = sum(math.prod(header.shape) * header.decoded.itemsize for header in (x, y))
    limits.check(x.shape[0], max(math.prod(header.shape[1:]) for header in (x, y)), decoded)
    for name, header in zip(MEMBERS, (x, y), strict=True):
        if header.claimed_bytes != header.stored_bytes:
            raise BadUpload(
                f"{name} claims {header}, {header.claimed_bytes:,} bytes, but the archive declares"
                f" {header.stored_bytes:,}"
            )


def _chunks(member: IO[bytes], header: _Header) -> Iterator[tuple[int, NDArray[Any]]]:
    """Yield the items of the array in the order of the file, each chunk with its position."""
    size = header.dtype.itemsize
    at, total = 0, math.prod(header.shape)
    while at < total:
        items = min(max(1, CHUNK // size), total - at)
        content = member.read(items * size)  # the last read checks the CRC of the member
        if len(content) < items * size:
            raise EOFError
        yield at, np.frombuffer(content, dtype=header.dtype)
        at += items


def _numbers(name: str, member: IO[bytes], header: _Header) -> NDArray[Any]:
    kind = header.dtype.kind
    dtype = header.decoded if name == "x" or kind == "f" else header.dtype.newbyteorder("<")
    # Items are written in the order of the file to their places in C order, without a second copy for Fortran order.
    numbers = np.empty(header.shape, dtype)
    flat = numbers.T.flat if header.fortran_order else numbers.reshape(-1)
    for at, chunk in _chunks(member, header):
        # NumPy does not handle a bool whose byte is neither 0 nor 1.
        items = (chunk.view(np.uint8) != 0) if kind == "b" else chunk
        with np.errstate(invalid="ignore"):  # a signaling NaN raises this; it is found below
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
        except ValueError:  # bytes that are not UTF-8, or invalid code points
            raise BadUpload(f"y[{at}:{at + len(chunk)}] has text that is not valid UTF-8") from None
        labels.extend(texts, lambda row: f"y[{row}]")
    return labels.coded()
