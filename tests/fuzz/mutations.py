"""Valid files, and the same files damaged at random."""

import io
import resource
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from hypothesis import strategies as st

INTERESTING = [b"\0", b"\xff", b"\xff" * 4, b"\x7f\xff\xff\xff", b"\0" * 8, b"\x80\x80\x80\x80\x08", b'"', b",", b"\n"]
INTERESTING += [b"nan", b"1e999", b"-", b"9" * 30, b"\xef\xbb\xbf", b"\r", b"PK\x03\x04", b"PAR1", b"|O"]
INTERESTING += [b"\xed\xa0\x80"]


@st.composite
def damaged(draw: st.DrawFn, files: Mapping[str, bytes]) -> bytes:
    """One of the files with bytes changed, inserted, removed, repeated or moved, or cut off."""
    content = bytearray(files[draw(st.sampled_from(sorted(files)))])
    for _ in range(draw(st.integers(0, 6))):
        at = draw(st.integers(0, len(content)))
        if draw(st.booleans()):
            at = len(content) - at // 16  # headers are at the beginning, footers and directories at the end
        to = min(len(content), at + draw(st.integers(0, 40)))
        match draw(st.sampled_from(["set", "put", "out", "twice", "cut", "flip"])):
            case "set":
                piece = draw(st.sampled_from(INTERESTING) | st.binary(min_size=1, max_size=8))
                content[at : at + len(piece)] = piece
            case "put":
                content[at:at] = draw(st.sampled_from(INTERESTING) | st.binary(min_size=1, max_size=8))
            case "out":
                del content[at:to]
            case "twice":
                content[at:at] = content[at:to] * draw(st.integers(1, 50))
            case "cut":
                del content[to:]
            case "flip" if at < len(content):
                content[at] ^= 1 << draw(st.integers(0, 7))
    return bytes(content)


@contextmanager
def memory_within(mebibytes: int) -> Iterator[None]:
    """Fail if the process grows by more, including memory that native code allocates."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    yield
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    assert grown < mebibytes, f"{grown:.0f} MiB more than before"


def csv_files() -> dict[str, bytes]:
    """CSV files with and without quotes, text columns and a byte order mark."""
    return {
        "numbers": b"a,b,y\n" + b"".join(b"%d,%f,%d\n" % (i, i / 7, i % 2) for i in range(20)),
        "texts": b'"a","b","kind"\r\n' + b'1,2.5e-3,"x, ""y"""\r\n-0,.5,z\r\n' * 4,
        "a mark": "\ufeffa,β,y\n1,2,3\n4,5,6\n7,8,9.5\n".encode(),
    }


def npz_files() -> dict[str, bytes]:
    """NPZ files, stored and compressed, with numbers, images and strings."""
    x = np.arange(24, dtype=np.float64).reshape(6, 4)
    y = np.array([0, 1, 0, 1, 1, 0])
    return {
        "stored": _npz(np.savez, x=x, y=y),
        "compressed": _npz(np.savez_compressed, x=x.astype(np.float32), y=y.astype(np.uint8)),
        "images": _npz(np.savez, x=np.zeros((6, 2, 2, 1), np.uint8), y=np.array(list("ababab"))),
        "in Fortran's order": _npz(np.savez, x=np.asfortranarray(x), y=x[:, 0] / 7),
        "another method": _zipped(zipfile.ZIP_LZMA, x, y),
    }


def parquet_files() -> dict[str, bytes]:
    """Parquet files: plain, with dictionaries, compressed, in several row groups, with nulls and with other types."""
    table = pa.table({"a": [1.5, 2.5, 3.5, 4.5] * 5, "b": [1, 2, 3, 4] * 5, "y": ["p", "q", "q", "p"] * 5})
    odd = pa.table({"a": [1.0, None, 3.0], "b": [[1], [2], [3]], "y": [True, False, True]})
    return {
        "plain": _parquet(table, use_dictionary=False, compression="none"),
        "snappy": _parquet(table, row_group_size=6),
        "gzip": _parquet(table, compression="gzip", data_page_version="2.0"),
        "odd": _parquet(odd, compression="zstd"),
    }


def _npz(save: Any, **arrays: Any) -> bytes:
    file = io.BytesIO()
    save(file, **arrays)
    return file.getvalue()


def _zipped(method: int, x: Any, y: Any) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", method) as archive:
        for name, array in (("x.npy", x), ("y.npy", y)):
            with archive.open(name, "w") as member:
                np.lib.format.write_array(member, array, allow_pickle=False)
    return file.getvalue()


def _parquet(table: Any, **options: Any) -> bytes:
    file = io.BytesIO()
    pq.write_table(table, file, **options)
    return file.getvalue()
