"""A server whose append-only file has lost its manifest must not start empty."""

import errno
import shutil
from pathlib import Path

import pytest

from service.local.append_only_file import recover
from service.local.errors import StackError

MANIFEST = "file appendonly.aof.3.base.rdb seq 3 type b\nfile appendonly.aof.5.incr.aof seq 5 type i\n"


@pytest.fixture
def parts(tmp_path: Path) -> Path:
    directory = tmp_path / "appendonlydir"
    directory.mkdir()
    return directory


def test_a_new_server_needs_no_recovery(tmp_path: Path) -> None:
    assert recover(tmp_path) is None
    assert list(tmp_path.iterdir()) == []


def test_a_complete_append_only_file_is_left_alone(tmp_path: Path, parts: Path) -> None:
    (parts / "appendonly.aof.manifest").write_text("as it is")
    (parts / "appendonly.aof.1.incr.aof").touch()

    assert recover(tmp_path) is None
    assert (parts / "appendonly.aof.manifest").read_text() == "as it is"


@pytest.mark.parametrize("extension", ["rdb", "aof"])
def test_the_manifest_of_one_base_and_one_increment_is_written_again(
    tmp_path: Path, parts: Path, extension: str
) -> None:
    (parts / f"appendonly.aof.3.base.{extension}").touch()
    (parts / "appendonly.aof.5.incr.aof").touch()
    (parts / "temp-rewriteaof-bg-7.aof").touch()

    notice = recover(tmp_path)

    assert notice is not None
    assert "nothing is lost" in notice
    assert (parts / "appendonly.aof.manifest").read_text() == MANIFEST.replace("base.rdb", f"base.{extension}")


def test_a_base_alone_is_accepted_and_the_user_is_told_what_may_be_lost(tmp_path: Path, parts: Path) -> None:
    (parts / "appendonly.aof.1.base.rdb").touch()

    notice = recover(tmp_path)

    assert notice is not None
    assert "as after an interrupted first start" in notice
    assert (parts / "appendonly.aof.manifest").read_text() == "file appendonly.aof.1.base.rdb seq 1 type b\n"


@pytest.mark.parametrize(
    "names",
    [
        ["1.base.rdb", "2.base.rdb", "2.incr.aof"],
        ["1.base.rdb", "1.incr.aof", "2.incr.aof"],
        ["1.incr.aof"],
    ],
)
def test_parts_that_do_not_determine_the_manifest_are_refused_and_left_alone(
    tmp_path: Path, parts: Path, names: list[str]
) -> None:
    for name in names:
        (parts / f"appendonly.aof.{name}").touch()

    with pytest.raises(StackError, match="restore the directory"):
        recover(tmp_path)

    assert len(list(parts.iterdir())) == len(names)


def test_a_snapshot_replaces_a_lost_append_only_file_and_the_user_is_told(tmp_path: Path) -> None:
    (tmp_path / "dump.rdb").write_bytes(b"REDIS")

    notice = recover(tmp_path)

    assert notice is not None
    assert "anything written later is lost" in notice
    parts = tmp_path / "appendonlydir"
    assert (parts / "appendonly.aof.1.base.rdb").read_bytes() == b"REDIS"
    assert (parts / "appendonly.aof.manifest").read_text() == "file appendonly.aof.1.base.rdb seq 1 type b\n"
    assert len(list(parts.iterdir())) == 2
    assert (tmp_path / "dump.rdb").exists()


def test_a_copy_of_the_snapshot_that_fails_half_way_leaves_no_base_and_is_explained(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def copy_half(_source: Path, copy: Path) -> None:
        copy.write_bytes(b"RE")
        raise OSError(errno.ENOSPC, "full")

    (tmp_path / "dump.rdb").write_bytes(b"REDIS")
    with monkeypatch.context() as full_disk:
        full_disk.setattr(shutil, "copyfile", copy_half)
        with pytest.raises(StackError, match=r"cannot be recovered \(No space left on device\)"):
            recover(tmp_path)
    assert list((tmp_path / "appendonlydir").iterdir()) == []

    assert recover(tmp_path) is not None
    assert (tmp_path / "appendonlydir" / "appendonly.aof.1.base.rdb").read_bytes() == b"REDIS"


def test_what_a_killed_copy_of_the_snapshot_leaves_is_replaced(tmp_path: Path, parts: Path) -> None:
    (tmp_path / "dump.rdb").write_bytes(b"REDIS")
    (parts / "temp-appendonly.aof.1.base.rdb").write_bytes(b"RE")

    assert recover(tmp_path) is not None

    assert (parts / "appendonly.aof.1.base.rdb").read_bytes() == b"REDIS"
    assert len(list(parts.iterdir())) == 2
