"""A worker's processes: each says that it lives, and none outlives the one that it belongs to."""

import logging
import os
import signal
import socket
import threading
import time
from collections.abc import Callable

from service.contract.errors import StoreUnavailable
from service.contract.record import Status
from service.store.attempts import Attempts, Claim
from service.store.experiments import Experiments

ANNOUNCE_EVERY_S = 3.0
ANNOUNCE_FOR_S = 10.0
LEASE_PARTS = 6  # a lease is prolonged that often while it lasts
MOST_TRAINERS = 10_000  # that may run at a time

logger = logging.getLogger(__name__)


def process_name() -> str:
    """Host and process id."""
    return f"{socket.gethostname()}:{os.getpid()}"


def live_for_ever(store: Experiments, name: str, hold: Callable[[], object], lease_s: float) -> None:
    """Keep saying that this training process lives, and has its run; compiled training leaves the interpreter free."""
    while True:
        try:
            hold()  # first, for it works in a full server too
            store.announce_trainer(name, ANNOUNCE_FOR_S)
        except StoreUnavailable as error:
            logger.warning("cannot say that this trainer lives: %s", error)
        time.sleep(min(ANNOUNCE_EVERY_S, lease_s / LEASE_PARTS))


def queue_lost_runs(store: Experiments, attempts: Attempts) -> None:
    """Leave the runs of this host's dead training processes to others, before their leases end."""
    for record in store.page(status=Status.RUNNING, tag=None, limit=MOST_TRAINERS, before=None).records:
        host, _, pid = (record.trainer or "").rpartition(":")
        if host == socket.gethostname() and pid.isdecimal() and not _alive(int(pid)):
            attempts.lose(Claim(record.id, record.attempts))


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
