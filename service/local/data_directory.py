"""The data directory of `gradflow up`: the paths of its files, their permissions, and its lock."""

import contextlib
import errno
import fcntl
import hashlib
import json
import os
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

from service.local.errors import StackError
from service.store.settings import RedisSettings

PRIVATE_UMASK = 0o077
MAX_SOCKET_PATH_BYTES = 100  # the kernel's limit is 108 bytes on Linux and 104 on macOS
SHORT_DIRECTORY = Path("/tmp")  # noqa: S108 - the directory made below it is private, and its owner is checked
MADE_BY_GRADFLOW = ("lock", "programs", "server.json", "valkey", "valkey.sock", "worker.log")
MADE_BY_OTHERS = ("lost+found",)  # at the root of a file system


class DataDirectory:
    """A data directory by its absolute path; `prepare` creates it, and nothing else here writes."""

    def __init__(self, path: Path) -> None:
        self.path = Path(os.path.realpath(path))  # unlike Path.resolve, never raises for a loop of symbolic links
        self.lock = self.path / "lock"
        self.programs = self.path / "programs"
        self.server = self.path / "valkey"
        self.server_log = self.server / "valkey.log"
        self.server_process = self.path / "server.json"
        self.worker_log = self.path / "worker.log"

    @property
    def shown(self) -> str:
        """The path as text that every terminal can print."""
        return shown(self.path)

    @property
    def socket(self) -> Path:
        """The server's socket: in the data directory, or in a private directory with a short path.

        The second is for paths that are too long for a socket or not UTF-8, which redis-py requires.
        """
        return self._socket_in(SHORT_DIRECTORY, is_suitable=self.shown == str(self.path))

    @property
    def old_socket(self) -> Path:
        """The path at which version 0.1.0 had the socket: another short directory, and only for paths too long."""
        return self._socket_in(Path(tempfile.gettempdir()), is_suitable=True)

    def _socket_in(self, short: Path, *, is_suitable: bool) -> Path:
        path = self.path / "valkey.sock"
        if len(os.fsencode(path)) <= MAX_SOCKET_PATH_BYTES and is_suitable:
            return path
        digest = hashlib.sha256(os.fsencode(self.path)).hexdigest()[:16]
        return short / f"gradflow-{os.getuid()}-{digest}" / "valkey.sock"

    @property
    def redis_settings(self) -> RedisSettings:
        """How clients reach the server; it has no password, so GRADFLOW_REDIS_PASSWORD is meant for another server."""
        return RedisSettings(url=f"unix://{quote(str(self.socket))}", password=None)

    def prepare(self) -> None:
        """Create the directory if it is missing, and remove the access of other users to it.

        Raises:
            StackError: it cannot be created or written, belongs to another user, or contains unrelated files.
        """
        with _errors_in_words(self.path):
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._refuse_unrelated()
            _make_private(self.path)
            self.server.mkdir(mode=0o700, exist_ok=True)
            if self.socket.parent != self.path:
                self.socket.parent.mkdir(mode=0o700, exist_ok=True)
                if self.socket.parent.is_symlink():
                    raise StackError(f"{shown(self.socket.parent)} is a symbolic link: remove it")
                _make_private(self.socket.parent)

    def socket_fault(self) -> str | None:
        """Why a client must not use the socket, in one sentence: another user may have made it. None if it may."""
        return None if self.socket.parent == self.path else access_fault(self.socket.parent)

    def _refuse_unrelated(self) -> None:
        names = {entry.name for entry in os.scandir(self.path)}
        unrelated = names.difference(MADE_BY_GRADFLOW, MADE_BY_OTHERS)
        if unrelated and "lock" not in names:
            raise StackError(
                f"{self.shown} contains files that are not gradflow's: choose a new directory with --data-dir, because "
                "gradflow removes the access of other users to its data directory"
            )

    @contextlib.contextmanager
    def held(self, url: str) -> Iterator[None]:
        """Hold the lock of the directory and make its files private; the kernel releases the lock of a killed process.

        Args:
            url: The address of this stack, for the message that another stack shows.

        Raises:
            StackError: another stack holds the lock.
        """
        with _errors_in_words(self.path):
            lock = self.lock.open("a+")
        with lock:
            with _errors_in_words(self.path):
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                lock.truncate(0)
                lock.write(json.dumps({"pid": os.getpid(), "url": url}))
                lock.flush()
                for name in MADE_BY_GRADFLOW:
                    _make_tree_private(self.path / name)
            yield

    def holder(self) -> str:
        """Address and process of the stack that holds the directory, as far as it could be read."""
        try:
            found = json.loads(self.lock.read_text())
            return f" at {found['url']} (process {found['pid']})"
        except (OSError, ValueError, KeyError, TypeError):
            return ""


def shown(path: Path) -> str:
    """A path as text that every terminal can print; bytes that are not UTF-8 are replaced."""
    return os.fsencode(path).decode("utf-8", "replace")


def access_fault(directory: Path) -> str | None:
    """Why other users may control the content of this directory, in one sentence; None if they do not.

    A directory that is missing has no fault.
    """
    try:
        found = directory.lstat()
    except OSError:
        return None
    if stat.S_ISLNK(found.st_mode):
        return f"{shown(directory)} is a symbolic link: remove it"
    if found.st_uid != os.geteuid():
        return f"{shown(directory)} belongs to another user"
    if found.st_mode & PRIVATE_UMASK:
        return f"{shown(directory)} is open to other users: make it private with `chmod 700`"
    return None


@contextlib.contextmanager
def _errors_in_words(path: Path) -> Iterator[None]:
    """Raise StackError, with one sentence, instead of the errors of the file system."""
    try:
        yield
    except BlockingIOError:
        raise StackError(f"a stack{DataDirectory(path).holder()} already uses {shown(path)}") from None
    except FileExistsError:
        raise StackError(f"{shown(path)} is a file: choose a directory with --data-dir") from None
    except OSError as error:
        reason = os.strerror(error.errno or errno.EIO)
        raise StackError(f"{shown(path)} cannot hold the data ({reason}): choose another with --data-dir") from None


def _make_tree_private(path: Path) -> None:
    with contextlib.suppress(FileNotFoundError):  # the server that a killed stack left behind replaces its files
        _make_private(path)
    for directory, names, files in () if path.is_symlink() else os.walk(path):
        for name in (*names, *files):
            with contextlib.suppress(FileNotFoundError):
                _make_private(Path(directory, name))


def _make_private(path: Path) -> None:
    """Remove the access of other users; never follows a symbolic link."""
    found = path.lstat()
    if found.st_uid != os.geteuid():
        raise StackError(f"{shown(path)} belongs to another user: choose another directory with --data-dir")
    if stat.S_ISLNK(found.st_mode):
        return
    if found.st_mode & stat.S_ISVTX and stat.S_ISDIR(found.st_mode):
        raise StackError(f"{shown(path)} is a directory that users share: choose another with --data-dir")
    if found.st_mode & PRIVATE_UMASK:
        path.chmod(stat.S_IMODE(found.st_mode) & ~PRIVATE_UMASK)
