"""The server's append-only file before a start: without its manifest, the server would silently start empty.

Valkey keeps the file as parts in one directory (https://valkey.io/topics/persistence): a base, one or more increments,
and a manifest that lists them. It writes a snapshot of all data, `dump.rdb`, next to that directory.
"""

import re
import shutil
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

    One base and one increment are all parts that the server had, so nothing is lost. If the whole append-only file is
    missing, the snapshot becomes its base.

    Raises:
        StackError: the parts do not determine the manifest.
    """
    directory = server_directory / DIRECTORY
    if (directory / MANIFEST).exists():
        return None
    parts = sorted(path for path in directory.glob("*") if PART.fullmatch(path.name))
    if not parts:
        return _from_snapshot(server_directory / SNAPSHOT, directory)
    kinds = [_kind_and_sequence(path)[0] for path in parts]
    if kinds != ["base", "incr"]:
        raise StackError(
            f"{shown(directory / MANIFEST)} is missing, and the other files do not determine it: restore the directory "
            f"{shown(directory)} from a backup, or move it away to start from the last snapshot"
        )
    _write_manifest(directory, parts)
    return f"{shown(directory / MANIFEST)} was missing and has been written again; nothing is lost"


def _from_snapshot(snapshot: Path, directory: Path) -> str | None:
    if not snapshot.exists():
        return None  # a new server
    directory.mkdir(mode=0o700, exist_ok=True)
    base, increment = directory / "appendonly.aof.1.base.rdb", directory / "appendonly.aof.1.incr.aof"
    shutil.copyfile(snapshot, base)
    increment.touch()
    _write_manifest(directory, [base, increment])
    made = datetime.fromtimestamp(snapshot.stat().st_mtime).astimezone()
    return (
        f"the append-only file in {shown(directory)} was missing; the data are those of the snapshot of "
        f"{made:%Y-%m-%d %H:%M:%S}, and anything written later is lost"
    )


def _write_manifest(directory: Path, parts: list[Path]) -> None:
    lines = []
    for path in parts:
        kind, sequence = _kind_and_sequence(path)
        lines.append(f"file {path.name} seq {sequence} type {kind[0]}\n")
    (directory / MANIFEST).write_text("".join(lines))


def _kind_and_sequence(path: Path) -> tuple[str, str]:
    found = PART.fullmatch(path.name)
    if found is None:
        raise ValueError(path.name)
    return found["kind"], found["sequence"]
