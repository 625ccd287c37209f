"""The data directory is private to its user and belongs to one stack at a time."""

import contextlib
import os
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from service.local.data_directory import MAX_SOCKET_PATH_BYTES, DataDirectory
from service.local.errors import StackError

URL = "http://127.0.0.1:8000"
NOBODY = 65534


def mode(path: Path) -> int:
    return stat.S_IMODE(path.lstat().st_mode)


@pytest.fixture
def open_umask() -> Iterator[None]:
    """A umask under which files are readable by everyone."""
    before = os.umask(0)
    yield
    os.umask(before)


@pytest.mark.usefixtures("open_umask")
def test_a_new_directory_is_private_under_any_umask(tmp_path: Path) -> None:
    directory = DataDirectory(tmp_path / "parent" / "data")

    directory.prepare()

    assert mode(directory.path) == 0o700
    assert mode(directory.server) == 0o700


@pytest.mark.usefixtures("open_umask")
def test_everything_in_an_open_directory_becomes_private(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    (tmp_path / "lock").touch(0o644)
    (tmp_path / "programs" / "machine").mkdir(parents=True)
    (tmp_path / "programs" / "machine" / "program.pb").touch(0o644)
    directory = DataDirectory(tmp_path)

    directory.prepare()
    with directory.held(URL):
        found = {path.relative_to(tmp_path).as_posix(): mode(path) for path in tmp_path.rglob("*")}

    assert mode(tmp_path) == 0o700
    assert found == {
        "lock": 0o600,
        "programs": 0o700,
        "programs/machine": 0o700,
        "programs/machine/program.pb": 0o600,
        "valkey": 0o700,
    }


def test_a_symbolic_link_in_the_directory_does_not_make_its_target_private(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    outside.chmod(0o755)
    data = tmp_path / "data"
    data.mkdir()
    (data / "lock").touch()
    (data / "programs").symlink_to(outside)
    directory = DataDirectory(data)

    directory.prepare()
    with directory.held(URL):
        assert mode(outside) == 0o755


def test_a_directory_with_files_of_other_programs_is_refused_and_left_alone(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    (tmp_path / "thesis.tex").touch()

    with pytest.raises(StackError, match=f"{tmp_path} contains files that are not gradflow's"):
        DataDirectory(tmp_path).prepare()

    assert mode(tmp_path) == 0o755


def test_a_directory_that_users_share_is_refused_and_left_alone(tmp_path: Path) -> None:
    tmp_path.chmod(0o1777)

    with pytest.raises(StackError, match="a directory that users share"):
        DataDirectory(tmp_path).prepare()

    assert mode(tmp_path) == 0o1777


def test_a_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.touch()

    with pytest.raises(StackError, match=f"{path} is a file"):
        DataDirectory(path).prepare()


@pytest.mark.parametrize(
    "path", [Path("/dev/null/data"), Path("/proc/data"), Path("/") / ("x" * 300), Path("/") / ("long/" * 1000)]
)
def test_a_path_that_cannot_be_created_is_refused_with_its_reason(path: Path) -> None:
    with pytest.raises(StackError, match=r"cannot hold the data \([A-Z][a-z ]+\)"):
        DataDirectory(path).prepare()


def test_a_loop_of_symbolic_links_is_refused(tmp_path: Path) -> None:
    (tmp_path / "loop").symlink_to(tmp_path / "loop")

    with pytest.raises(StackError):
        DataDirectory(tmp_path / "loop").prepare()


@contextlib.contextmanager
def without_privileges(directory: Path) -> Iterator[None]:
    """Act as a user whom file permissions bind, even if the tests run as root."""
    if os.geteuid() != 0:
        yield
        return
    os.chown(directory, NOBODY, NOBODY)
    os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)


def test_a_directory_without_write_permission_is_refused() -> None:
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o500)
        with without_privileges(Path(name)), pytest.raises(StackError, match="Permission denied"):
            DataDirectory(Path(name)).prepare()


def test_a_directory_of_another_user_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: tmp_path.stat().st_uid + 1)

    with pytest.raises(StackError, match="belongs to another user"):
        DataDirectory(tmp_path).prepare()


def test_a_held_directory_is_refused_with_the_address_of_its_holder(tmp_path: Path) -> None:
    first, second = DataDirectory(tmp_path), DataDirectory(tmp_path)
    first.prepare()

    with (
        first.held(URL),
        pytest.raises(StackError, match=rf"a stack at {URL} \(process {os.getpid()}\) already uses"),
        second.held("http://127.0.0.1:8001"),
    ):
        pytest.fail("it is held twice")

    with second.held(URL):
        pass


def test_a_damaged_lock_file_still_locks(tmp_path: Path) -> None:
    directory = DataDirectory(tmp_path)
    directory.prepare()

    with directory.held(URL):
        directory.lock.write_text("not JSON")
        with pytest.raises(StackError, match="a stack already uses"), DataDirectory(tmp_path).held(URL):
            pytest.fail("it is held twice")


def test_a_short_path_holds_the_socket_and_a_long_one_has_it_in_a_private_directory(tmp_path: Path) -> None:
    short, long = DataDirectory(Path("/data")), DataDirectory(tmp_path / ("deep/" * 40))
    try:
        long.prepare()

        assert short.socket == Path("/data/valkey.sock")
        assert len(os.fsencode(long.socket)) <= MAX_SOCKET_PATH_BYTES
        assert long.socket == DataDirectory(long.path).socket
        assert mode(long.socket.parent) == 0o700
        assert long.socket != DataDirectory(tmp_path / ("deep/" * 41)).socket
    finally:
        long.socket.parent.rmdir()


def test_a_symbolic_link_in_place_of_the_socket_directory_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("service.local.data_directory.SHORT_DIRECTORY", tmp_path / "short")
    (tmp_path / "short").mkdir()
    directory = DataDirectory(tmp_path / ("deep/" * 40))
    directory.socket.parent.symlink_to(tmp_path)

    with pytest.raises(StackError, match="is a symbolic link"):
        directory.prepare()


@pytest.fixture
def long_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> DataDirectory:
    """A directory whose path is too long for a socket."""
    monkeypatch.setattr("service.local.data_directory.SHORT_DIRECTORY", tmp_path / "short")
    (tmp_path / "short").mkdir()
    return DataDirectory(tmp_path / ("deep/" * 40))


def test_a_socket_in_the_data_directory_or_in_a_private_or_missing_directory_has_no_fault(
    long_directory: DataDirectory,
) -> None:
    assert DataDirectory(Path("/data")).socket_fault() is None
    assert long_directory.socket_fault() is None
    long_directory.prepare()
    assert long_directory.socket_fault() is None


def test_a_socket_directory_that_is_a_symbolic_link_is_a_fault(tmp_path: Path, long_directory: DataDirectory) -> None:
    long_directory.socket.parent.symlink_to(tmp_path)

    assert long_directory.socket_fault() == f"{long_directory.socket.parent} is a symbolic link: remove it"


def test_a_socket_directory_of_another_user_is_a_fault(
    long_directory: DataDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    long_directory.prepare()
    monkeypatch.setattr(os, "geteuid", lambda: long_directory.path.stat().st_uid + 1)

    assert long_directory.socket_fault() == f"{long_directory.socket.parent} belongs to another user"


def test_a_socket_directory_that_is_open_to_other_users_is_a_fault(long_directory: DataDirectory) -> None:
    long_directory.prepare()
    long_directory.socket.parent.chmod(0o770)

    assert "is open to other users" in str(long_directory.socket_fault())


def test_version_0_1_0_had_the_socket_of_a_long_path_in_the_directory_of_temporary_files(
    tmp_path: Path, long_directory: DataDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))

    assert DataDirectory(Path("/data")).old_socket == Path("/data/valkey.sock")
    assert long_directory.old_socket == tmp_path / long_directory.socket.parent.name / "valkey.sock"


def test_a_path_that_is_not_utf8_is_shown_and_has_its_socket_elsewhere() -> None:
    directory = DataDirectory(Path("/") / os.fsdecode(b"da\xffta"))

    assert directory.shown == "/da\N{REPLACEMENT CHARACTER}ta"
    assert not directory.socket.is_relative_to(directory.path)


def test_the_password_of_another_server_is_not_used_for_the_embedded_server(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GRADFLOW_REDIS_PASSWORD", "secret")

    assert DataDirectory(Path("/data")).redis_settings.password is None
