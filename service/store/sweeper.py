"""What makes up for those that died: leases that ran out, and messages that were lost."""

import logging
import threading
from collections.abc import Callable

from service.contract.errors import StoreUnavailable
from service.store.attempts import Attempts

logger = logging.getLogger(__name__)


class Sweeper:
    """Sweeps again and again; any number of them may, in any process.

    `publish` sends the message that an experiment is queued.
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
        """Sweep in a thread of its own until `stop`."""
        threading.Thread(target=self._run, name="sweeper", daemon=True).start()

    def stop(self) -> None:
        """Begin no further sweep."""
        self._stopped.set()

    def sweep(self) -> float:
        """Sweep once; seconds until it is worth doing again: earlier than usual where a lease may end before."""
        swept = self._attempts.sweep(self._every_s, self._keep_s)
        for experiment_id in swept.unheard:
            self._publish(experiment_id)
        if swept.lapsed:
            logger.warning("%d runs had lost their trainers and are queued again", swept.lapsed)
        soonest = self._every_s if swept.next_lapse_s is None else swept.next_lapse_s
        return min(self._every_s, soonest + 0.05)

    def _run(self) -> None:
        pause = 0.0
        while not self._stopped.wait(pause):
            try:
                pause = self.sweep()
            except StoreUnavailable as error:
                logger.warning("cannot look for lost runs: %s", error)
                pause = 1.0
            except Exception:
                logger.exception("a sweep failed")
                pause = self._every_s
