"""Makes up for processes that died: ends expired leases, sends lost messages again, deletes old experiments."""

import logging
import threading
from collections.abc import Callable

from service.contract.errors import StoreUnavailable
from service.store.attempts import Attempts

logger = logging.getLogger(__name__)

RETRY_S = 1.0  # after Redis did not answer
LATER_S = 0.05  # after a lease ends, so that the sweep finds it ended


class Sweeper:
    """Sweeps repeatedly. Any number of processes may do so.

    Args:
        attempts: the store.
        publish: sends the message that an experiment is queued.
        every_s: seconds between two sweeps, at most.
        keep_s: experiments that ended longer ago are deleted; None keeps all.
    """

    def __init__(
        self, attempts: Attempts, publish: Callable[[str], object], every_s: float = 10.0, keep_s: float | None = None
    ) -> None:
        self._attempts = attempts
        self._publish = publish
        self._every_s = every_s
        self._keep_s = keep_s
        self._stopped = threading.Event()

    def start(self) -> None:
        """Sweep in a thread until `stop`."""
        threading.Thread(target=self._run, name="sweeper", daemon=True).start()

    def stop(self) -> None:
        """Begin no further sweep."""
        self._stopped.set()

    def sweep(self) -> float:
        """Sweep once.

        Returns:
            Seconds until the next sweep: fewer than usual if a lease may end before.
        """
        swept = self._attempts.sweep(self._every_s, self._keep_s)
        for experiment_id in swept.to_republish:
            self._publish(experiment_id)
        if swept.expired:
            logger.warning("%d runs had lost their trainers and are queued again", swept.expired)
        if swept.old_trainers:
            logger.warning("%d trainers of gradflow 0.1.0 use migrated data: stop their workers", swept.old_trainers)
        soonest = self._every_s if swept.next_expiry_s is None else swept.next_expiry_s
        return min(self._every_s, soonest + LATER_S)

    def _run(self) -> None:
        pause = 0.0
        while not self._stopped.wait(pause):
            try:
                pause = self.sweep()
            except StoreUnavailable as error:
                logger.warning("cannot sweep: %s", error)
                pause = RETRY_S
            except Exception:
                logger.exception("a sweep failed")
                pause = self._every_s
