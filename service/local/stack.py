"""All of gradflow on one machine, in the foreground: an embedded server, the API and a worker."""

import contextlib
import logging
import os
import socket
import threading
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import uvicorn
from pydantic import ValidationError
from rich.console import Console
from rich.markup import escape

from service.api.composition import Stores, compose
from service.api.serving import Unprotected, server, settings_at
from service.api.settings import ApiSettings
from service.contract.errors import SchemaMismatch, StoreUnavailable
from service.contract.workload import Limits
from service.local.data_directory import PRIVATE_UMASK, DataDirectory
from service.local.errors import StackError, StopRequested
from service.local.server import running_server
from service.local.settings import LocalSettings
from service.local.stop_request import StopRequest
from service.local.worker import running_worker, worker_environment
from service.store.connection import connect
from service.store.experiments import Experiments
from service.store.keys import Keys
from service.store.migration import MigrationWaits
from service.store.publisher import CeleryPublisher
from service.store.settings import LeaseSettings

HOST = "127.0.0.1"
POLL_S = 0.2
API_STOP_S = 2  # with the defaults of worker and server, the stack stops within ten seconds

logger = logging.getLogger(__name__)


def run(port: int, data_dir: Path, workers: int | None, host: str = HOST, insecure: bool = False) -> None:
    """Run the stack until SIGINT or SIGTERM.

    Args:
        port: Port of the API.
        data_dir: Directory of all data and logs; it is created, and only this user can read it.
        workers: Number of training processes; by default one per core.
        host: Address on which the API listens.
        insecure: Whether the API may be reachable from other machines without API keys.

    Raises:
        StackError: the port or the directory cannot be used, a setting is invalid, the server does not start, or other
            machines could reach the API without a key.
    """
    os.umask(PRIVATE_UMASK)  # for each file of every process of the stack
    console, stop = Console(), StopRequest()
    directory = DataDirectory(data_dir)
    url = f"http://{_client_host(host)}:{port}"

    def notify(text: str) -> None:
        console.print(escape(text), highlight=False, soft_wrap=True)

    with stop.on_signals(), contextlib.suppress(StopRequested), _invalid_settings_in_words():
        local, leases = LocalSettings(), LeaseSettings()
        directory.prepare()
        with contextlib.ExitStack() as stack:
            stack.enter_context(directory.held(url))
            listener = stack.enter_context(_listening(host, port))
            stack.callback(notify, f"stopped; everything is kept in {directory.shown}")
            redis_settings = stack.enter_context(running_server(directory, notify, stop.wait))
            stores = Stores.over(connect(redis_settings), leases)
            publisher = CeleryPublisher(redis_settings)
            _migrate(stores)
            settings = _protected(host, stores.keys, insecure)
            app = compose(stores, publisher, settings, leases, Limits())
            environment = worker_environment(os.environ, redis_settings, local, workers, directory)
            requeue = partial(_requeue, stores, publisher)
            stack.enter_context(running_worker(environment, directory, local.stop_s, requeue))
            at, docs = f"[bold]{escape(url)}[/bold]", escape(f"{url}/docs")
            console.print(f"[bold]gradflow[/bold] at {at} (API documentation: {docs})", highlight=False, soft_wrap=True)
            notify(f"data and logs in {directory.shown}; training processes are importing TensorFlow …")
            ready = partial(_tell_when_ready, stores.experiments, console, url, stop)
            threading.Thread(target=ready, daemon=True).start()
            api = server(app, settings, API_STOP_S, log_level="warning", access_log=False)
            _serve(api, listener, stop)


def _serve(api: uvicorn.Server, listener: socket.socket, stop: StopRequest) -> None:
    """Serve until the request to stop, even if it was made before uvicorn installed its own signal handlers."""

    def end() -> None:
        stop.wait()
        api.should_exit = True

    threading.Thread(target=end, daemon=True).start()
    api.run(sockets=[listener])


@contextlib.contextmanager
def _invalid_settings_in_words() -> Iterator[None]:
    try:
        yield
    except ValidationError as error:
        found = "; ".join(f"{part['loc'][0]}: {part['msg']}" for part in error.errors() if part["loc"])
        raise StackError(f"a setting of the environment is invalid ({error.title}: {found})") from None


@contextlib.contextmanager
def _listening(host: str, port: int) -> Iterator[socket.socket]:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # With the protocol named, asyncio switches Nagle's algorithm off; otherwise answers can wait 40 ms for an
    # acknowledgement.
    with socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((host, port))
        except OSError as error:
            raise StackError(f"port {port} of {host} is taken: {error.strerror}; choose another with --port") from None
        yield listener


def _client_host(host: str) -> str:
    """The host as it is written in the URL that a client on this machine uses."""
    if host in ("0.0.0.0", "::"):  # noqa: S104 - compared, not listened on
        return HOST
    return f"[{host}]" if ":" in host else host


def _protected(host: str, keys: Keys, insecure: bool) -> ApiSettings:
    try:
        return settings_at(host, keys, insecure)
    except Unprotected as error:
        raise StackError(f"{error} (while the stack runs on {HOST}: gradflow keys add NAME --data-dir …)") from error


def _migrate(stores: Stores) -> None:
    """Migrate data of an older version, now or before the worker starts, and refuse data of a newer version."""
    try:
        stores.migration.run(without_workers=True)
    except SchemaMismatch as error:
        raise StackError(str(error)) from error
    except (MigrationWaits, StoreUnavailable) as error:
        logger.warning("the data are migrated later: %s", error)


def _requeue(stores: Stores, publisher: CeleryPublisher) -> None:
    """Queue all runs again that were running, with exactly one message per queued run; no worker runs now."""
    stores.migration.run(without_workers=True)
    stores.experiments.withdraw_trainers()
    stores.attempts.lose_all()
    publisher.purge()
    publisher.publish_many(stores.experiments.queued())


def _tell_when_ready(experiments: Experiments, console: Console, url: str, stop: StopRequest) -> None:
    began = time.monotonic()
    while not _any_trainer(experiments):
        if stop.wait(POLL_S):
            return
    command = f"[bold]gradflow run baseline --url {escape(url)}[/bold]"
    console.print(f"ready after {time.monotonic() - began:.0f} s: try {command}", soft_wrap=True)


def _any_trainer(experiments: Experiments) -> bool:
    try:
        return bool(experiments.trainer_names())
    except StoreUnavailable:  # the server has died and is started again
        return False
