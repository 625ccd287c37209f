"""The server's append-only file before a start: without its manifest, the server would silently start empty.

Valkey keeps the file as parts in one directory (https://valkey.io/topics/persistence): a base, one or more increments,
and a manifest that lists them. It writes a snapshot of all data, `dump.rdb`, next to that directory.
"""

import contextlib
import errno
import os
import re
import shutil
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

from service.local.data_directory import shown
from service.local.errors import StackError

DIRECTORY = "appendonlydir"
MANIFEST = "appendonly.aof.manifest"
SNAPSHOT = "dump.rdb"
PART = re.compile(r"appendonly\.aof\.(?P<sequence>\d+)\.(?P<kind>base|incr)\.(?:rdb|aof)")


def recover(server_directory: Path) -> str | None:
    """Write the manifest again if it is missing; return a sentence for the user about what was done, or None.

    One base and one increment are all parts that the server had, so nothing is lost. A base alone is what a first start
    leaves that ends before it writes the manifest. If the whole append-only file is missing, the snapshot becomes its
    base.

    Raises:
        StackError: the parts do not determine the manifest, or the files cannot be read or written.
    """
    directory = server_directory / DIRECTORY
    try:
        return _recover(directory, server_directory / SNAPSHOT)
    except OSError as error:
        reason = os.strerror(error.errno or errno.EIO)
        raise StackError(
            f"the append-only file in {shown(directory)} has no manifest and cannot be recovered ({reason}): "
            "remove the cause and start again"
        ) from None


def _recover(directory: Path, snapshot: Path) -> str | None:
    manifest = directory / MANIFEST
    if manifest.exists():
        return None
    parts = sorted(path for path in directory.glob("*") if PART.fullmatch(path.name))
    if not parts:
        return _from_snapshot(snapshot, directory)
    kinds = [_kind_and_sequence(path)[0] for path in parts]
    if kinds not in (["base"], ["base", "incr"]):
        raise StackError(
            f"{shown(manifest)} is missing, and the other files do not determine it: restore the directory "
            f"{shown(directory)} from a backup, or move it away to start from the last snapshot"
        )
    _write_manifest(directory, parts)
    again = f"{shown(manifest)} was missing and has been written again"
    if kinds == ["base"]:
        return (
            f"{again} from {parts[0].name} alone, as after an interrupted first start; if the server has run before, "
            f"what it wrote after {_modified(parts[0])} is lost"
        )
    return f"{again}; nothing is lost"


def _from_snapshot(snapshot: Path, directory: Path) -> str | None:
    if not snapshot.exists():
        return None  # a new server
    directory.mkdir(mode=0o700, exist_ok=True)
    base = directory / "appendonly.aof.1.base.rdb"
    with _replacing(base) as copy:
        shutil.copyfile(snapshot, copy)
    _write_manifest(directory, [base])
    return (
        f"the append-only file in {shown(directory)} was missing; the data are those of the snapshot of "
        f"{_modified(snapshot)}, and anything written later is lost"
    )


def _write_manifest(directory: Path, parts: list[Path]) -> None:
    lines = []
    for path in parts:
        kind, sequence = _kind_and_sequence(path)
        lines.append(f"file {path.name} seq {sequence} type {kind[0]}\n")
    with _replacing(directory / MANIFEST) as copy:
        copy.write_text("".join(lines))


@contextlib.contextmanager
def _replacing(path: Path) -> Iterator[Path]:
    """A temporary file that becomes `path` once it is complete and on the disk."""
    temporary = path.with_name(f"temp-{path.name}")
    try:
        yield temporary
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def _modified(path: Path) -> str:
    return f"{datetime.fromtimestamp(path.stat().st_mtime).astimezone():%Y-%m-%d %H:%M:%S}"


def _kind_and_sequence(path: Path) -> tuple[str, str]:
    found = PART.fullmatch(path.name)
    if found is None:
        raise ValueError(path.name)
    return found["kind"], found["sequence"]
