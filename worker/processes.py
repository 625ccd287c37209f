"""The life of a worker's processes: heartbeats, and an end together with the process that owns them."""

import logging
import os
import signal
import socket
import threading
import time
from collections.abc import Callable
from typing import NoReturn

from service.contract.errors import StoreUnavailable
from service.contract.record import Status
from service.store.attempts import Attempts, Claim
from service.store.experiments import Experiments

HEARTBEAT_S = 3.0
HEARTBEAT_LIFETIME_S = 10.0
RENEWALS_PER_LEASE = 6
MAX_TRAINERS = 10_000  # trainers that may run at the same time
PARENT_POLL_S = 0.5

logger = logging.getLogger(__name__)


def process_name() -> str:
    """Host name and process id."""
    return f"{socket.gethostname()}:{os.getpid()}"


def heartbeat(
    store: Experiments,
    name: str,
    renew_lease: Callable[[], object],
    lease_s: float,
    sleep: Callable[[float], object] = time.sleep,
) -> NoReturn:
    """Announce this trainer and renew the lease of its run until the process ends.

    Runs in a thread of its own: compiled training does not hold the interpreter's lock.

    Args:
        store: Where the trainer is announced.
        name: The name of this trainer.
        renew_lease: Renews the lease of the current run, if there is one.
        lease_s: Duration of a lease, in seconds.
        sleep: Waits for a number of seconds.
    """
    while True:
        try:
            renew_lease()  # first, because it also works if Redis is full
            store.announce_trainer(name, HEARTBEAT_LIFETIME_S)
        except StoreUnavailable as error:
            logger.warning("this trainer cannot send its heartbeat: %s", error)
        sleep(min(HEARTBEAT_S, lease_s / RENEWALS_PER_LEASE))


def requeue_lost_runs(store: Experiments, attempts: Attempts) -> None:
    """Queue the runs of this host's dead training processes again, without waiting for their leases to end."""
    for record in store.page(status=Status.RUNNING, tag=None, limit=MAX_TRAINERS, before=None).records:
        host, _, pid = (record.trainer or "").rpartition(":")
        if host == socket.gethostname() and not _is_alive(int(pid)):
            attempts.lose(Claim(record.id, record.attempts))


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def exit_with_parent(parent: int) -> None:
    """Kill this process within a second after its parent has ended, even if the parent was killed.

    Linux has PR_SET_PDEATHSIG for this; macOS has nothing.
    """

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(PARENT_POLL_S)
        os.kill(os.getpid(), signal.SIGKILL)

    threading.Thread(target=watch, name="parent-watch", daemon=True).start()
