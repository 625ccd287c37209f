"""The embedded server on unusual paths, after a lost manifest, and next to what a killed stack left running."""

import os
import signal
import stat
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
import redis
from kombu import Connection

from service.local import processes
from service.local.append_only_file import DIRECTORY, MANIFEST
from service.local.data_directory import PRIVATE_UMASK, DataDirectory
from service.local.errors import StackError, StopRequested
from service.local.server import command, running_server
from service.store.connection import connect
from tests.support.running_stack import RunningStack

NAMES = [
    "with a space",
    'it\'s "quoted"',
    "has#hash",
    "100%20percent%",
    "really?",
    "ünïcode 中文",
    "back\\slash",
    "two\nlines",
    "user:secret@host",
    "$HOME;&=[x]{y}*",
    "long/" * 60,
    os.fsdecode(b"not-utf8-\xff"),
]


@pytest.fixture(autouse=True)
def _private() -> Iterator[None]:
    """The umask of the stack."""
    before = os.umask(PRIVATE_UMASK)
    yield
    os.umask(before)


def never(timeout_s: float) -> bool:
    threading.Event().wait(timeout_s)
    return False


@contextmanager
def server(path: Path, notices: list[str] | None = None) -> Iterator[redis.Redis]:
    """A client of a server on this data directory."""
    directory = DataDirectory(path)
    directory.prepare()
    notify = ([] if notices is None else notices).append
    with running_server(directory, notify, never) as settings, connect(settings) as client:
        yield client


@pytest.mark.parametrize("name", NAMES)
def test_the_server_and_both_of_its_clients_work_in_a_directory_of_any_name(tmp_path: Path, name: str) -> None:
    with server(tmp_path / name) as client:
        client.set("key", "value")
        with Connection(DataDirectory(tmp_path / name).redis_settings.broker_url) as broker:
            assert broker.default_channel.client.get("key") == b"value"  # type: ignore[attr-defined]

    with server(tmp_path / name) as client:
        assert client.get("key") == b"value"


def test_all_files_of_the_server_are_private(tmp_path: Path) -> None:
    with server(tmp_path / "data") as client:
        client.set("key", "value")
        client.save()
        found = {path: stat.S_IMODE(path.lstat().st_mode) for path in (tmp_path / "data").rglob("*")}

    assert {"dump.rdb", "valkey.sock", "valkey.log", "appendonly.aof.manifest"} <= {path.name for path in found}
    assert {path: mode for path, mode in found.items() if mode & PRIVATE_UMASK} == {}


def test_a_lost_manifest_is_written_again_and_nothing_is_lost(tmp_path: Path) -> None:
    with server(tmp_path) as client:
        client.set("key", "value")
    (tmp_path / "valkey" / DIRECTORY / MANIFEST).unlink()

    notices: list[str] = []
    with server(tmp_path, notices) as client:
        assert client.get("key") == b"value"

    assert len(notices) == 1
    assert "nothing is lost" in notices[0]


def test_a_start_succeeds_after_a_first_start_was_killed_before_it_wrote_the_manifest(tmp_path: Path) -> None:
    with server(tmp_path):
        pass
    for path in [tmp_path / "valkey" / "dump.rdb", *(tmp_path / "valkey" / DIRECTORY).iterdir()]:
        if ".base." not in path.name:
            path.unlink(missing_ok=True)

    with server(tmp_path) as client:
        client.set("key", "value")
    with server(tmp_path) as client:
        assert client.get("key") == b"value"


def test_a_lost_append_only_file_is_replaced_by_the_snapshot_of_the_last_stop(tmp_path: Path) -> None:
    with server(tmp_path) as client:
        client.set("key", "value")
    for part in (tmp_path / "valkey" / DIRECTORY).iterdir():
        part.unlink()

    notices: list[str] = []
    with server(tmp_path, notices) as client:
        assert client.get("key") == b"value"
        client.set("later", "too")
    with server(tmp_path) as client:
        assert client.get("later") == b"too"

    assert len(notices) == 1
    assert "snapshot" in notices[0]


def test_a_damaged_append_only_file_is_refused_in_words_that_name_no_missing_tool(tmp_path: Path) -> None:
    with server(tmp_path) as client:
        client.set("key", "value")
    next((tmp_path / "valkey" / DIRECTORY).glob("*.base.*")).write_bytes(b"damaged")

    with pytest.raises(StackError, match="is damaged: restore it from a backup") as refused, server(tmp_path):
        pytest.fail("it started")

    assert "check-aof" not in str(refused.value)


def test_data_of_a_newer_version_are_refused(tmp_path: Path) -> None:
    with server(tmp_path) as client:
        client.set("gradflow:schema", 999)

    assert "999" in RunningStack(tmp_path).refusal()


def test_a_request_to_stop_while_the_server_loads_ends_it(tmp_path: Path) -> None:
    directory = DataDirectory(tmp_path)
    directory.prepare()

    with (
        pytest.raises(StopRequested),
        running_server(directory, lambda _: None, lambda _: True),
    ):
        pytest.fail("it went on")

    assert processes.read(directory.server_process) is None


@contextmanager
def orphan(
    directory: DataDirectory, *, remembered: bool, socket: Path | None = None
) -> Iterator["subprocess.Popen[bytes]"]:
    """A server that a killed stack has left on this directory, with or without a record of it."""
    directory.prepare()
    path = os.fsdecode(socket or directory.socket)
    arguments = [*command(directory), "--unixsocket", path]
    with directory.server_log.open("ab") as log:
        left = subprocess.Popen(arguments, cwd=directory.server, stdout=log, stderr=subprocess.STDOUT)
    with redis.Redis(unix_socket_path=path) as client:
        while True:
            try:
                client.set("key", "value")
                break
            except redis.exceptions.RedisError:
                assert left.poll() is None
    process = processes.Process.running(left.pid)
    assert process is not None
    if remembered:
        processes.write(directory.server_process, process)
    reaped = threading.Thread(target=left.wait)  # as init does
    reaped.start()
    try:
        yield left
    finally:
        left.kill()
        reaped.join()


@pytest.mark.parametrize("remembered", [True, False])
@pytest.mark.parametrize("suspended", [True, False])
def test_an_orphan_ends_even_if_it_is_suspended_and_its_data_are_kept(
    tmp_path: Path, remembered: bool, suspended: bool
) -> None:
    directory = DataDirectory(tmp_path)
    with orphan(directory, remembered=remembered) as left:
        if suspended:
            os.kill(left.pid, signal.SIGSTOP)

        with server(tmp_path) as client:
            assert client.get("key") == b"value"
            assert left.poll() is not None


def test_an_orphan_without_its_socket_ends_too(tmp_path: Path) -> None:
    directory = DataDirectory(tmp_path)
    with orphan(directory, remembered=True) as left:
        directory.socket.unlink()

        with server(tmp_path) as client:
            assert client.get("key") == b"value"
            assert left.poll() is not None


@pytest.fixture
def long_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[DataDirectory]:
    """A directory whose path is too long for a socket; version 0.1.0 had its socket in another short directory."""
    with TemporaryDirectory() as old, TemporaryDirectory() as new:  # tmp_path itself may be too long for a socket
        monkeypatch.setattr("tempfile.tempdir", old)
        monkeypatch.setattr("service.local.data_directory.SHORT_DIRECTORY", Path(new))
        directory = DataDirectory(tmp_path / ("long/" * 40))
        directory.old_socket.parent.mkdir(mode=0o700)
        yield directory


def without_peer_ids(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the system not tell which process listens on a socket, as on macOS."""
    monkeypatch.delattr("socket.SO_PEERCRED")


@pytest.mark.parametrize("suspended", [True, False])
def test_an_orphan_of_version_0_1_0_with_the_socket_at_its_old_path_ends(
    long_directory: DataDirectory, suspended: bool
) -> None:
    with orphan(long_directory, remembered=False, socket=long_directory.old_socket) as left:
        if suspended:
            os.kill(left.pid, signal.SIGSTOP)

        with server(long_directory.path) as client:
            assert client.get("key") == b"value"
            assert left.poll() is not None


@pytest.mark.parametrize("old_path", [True, False])
def test_an_orphan_of_version_0_1_0_ends_where_the_system_does_not_tell_its_process(
    long_directory: DataDirectory, monkeypatch: pytest.MonkeyPatch, old_path: bool
) -> None:
    without_peer_ids(monkeypatch)
    socket = long_directory.old_socket if old_path else long_directory.socket
    with orphan(long_directory, remembered=False, socket=socket) as left, server(long_directory.path) as client:
        assert client.get("key") == b"value"
        assert left.poll() is not None


@pytest.mark.parametrize("suspended", [True, False])
def test_a_foreign_server_is_refused_where_the_system_does_not_tell_its_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, suspended: bool
) -> None:
    without_peer_ids(monkeypatch)
    theirs, ours = DataDirectory(tmp_path / "theirs"), DataDirectory(tmp_path / "ours")
    with orphan(theirs, remembered=True) as left:
        ours.prepare()
        ours.socket.symlink_to(theirs.socket)
        if suspended:
            os.kill(left.pid, signal.SIGSTOP)

        with pytest.raises(StackError, match="a process, which this stack has not started"), server(ours.path):
            pytest.fail("it started")

        assert left.poll() is None


def test_an_old_socket_directory_that_is_a_symbolic_link_is_not_used(
    long_directory: DataDirectory, tmp_path: Path
) -> None:
    theirs = DataDirectory(tmp_path / "theirs")
    with orphan(theirs, remembered=True) as left:
        long_directory.old_socket.parent.rmdir()
        long_directory.old_socket.parent.symlink_to(theirs.path)

        with server(long_directory.path):
            assert left.poll() is None


def test_the_server_of_another_directory_is_never_ended(tmp_path: Path) -> None:
    theirs, ours = DataDirectory(tmp_path / "theirs"), DataDirectory(tmp_path / "ours")
    with orphan(theirs, remembered=True) as left:
        ours.prepare()
        ours.socket.symlink_to(theirs.socket)
        ours.server_process.write_text(theirs.server_process.read_text().replace('"started": "', '"started": "not '))

        with (
            pytest.raises(StackError, match=f"process {left.pid}, which this stack has not started"),
            server(ours.path),
        ):
            pytest.fail("it started")

        assert left.poll() is None
        with connect(theirs.redis_settings) as client:
            assert client.get("key") == b"value"


def test_a_server_that_dies_is_started_again_on_its_data(tmp_path: Path) -> None:
    with server(tmp_path) as client:
        client.set("key", "value")
        pid = client.info("server")["process_id"]

        os.kill(pid, signal.SIGKILL)

        while True:
            try:
                now = client.info()
                if now["process_id"] != pid and not now["loading"]:
                    break
            except redis.exceptions.ConnectionError:
                continue
        assert client.get("key") == b"value"
