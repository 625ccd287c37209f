"""A worker's processes: each says that it lives, and none outlives the one that it belongs to."""

import logging
import os
import signal
import socket
import threading
import time

from service.contract.errors import StoreUnavailable
from service.contract.record import Status
from service.contract.store import Store

ANNOUNCE_EVERY_S = 3.0
ANNOUNCE_FOR_S = 10.0
MOST_TRAINERS = 10_000  # that may run at a time

logger = logging.getLogger(__name__)


def process_name() -> str:
    """Host and process id."""
    return f"{socket.gethostname()}:{os.getpid()}"


def announce_for_ever(store: Store, name: str) -> None:
    """Keep saying that this training process lives; compiled training leaves the interpreter free for it."""
    while True:
        try:
            store.announce_trainer(name, ANNOUNCE_FOR_S)
        except StoreUnavailable as error:
            logger.warning("cannot announce this trainer: %s", error)
        time.sleep(ANNOUNCE_EVERY_S)


def fail_lost_runs(store: Store) -> None:
    """End the runs whose training processes died under them, on this host."""
    error = "the training process died: it was killed, or the machine ran out of memory"
    for record in store.page(status=Status.RUNNING, tag=None, limit=MOST_TRAINERS, before=None).records:
        host, _, pid = (record.trainer or "").rpartition(":")
        if host == socket.gethostname() and not _alive(int(pid)):
            store.finish(record.id, record.attempts, Status.FAILED, record.outcome, record.timing, error)


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def die_with(parent: int) -> None:
    """End this process, without ado, within a second of its parent's end, also where that was killed.

    Linux could do this alone (PR_SET_PDEATHSIG); macOS cannot.
    """

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(0.5)
        os.kill(os.getpid(), signal.SIGKILL)

    threading.Thread(target=watch, name="parent-watch", daemon=True).start()
