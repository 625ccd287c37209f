"""Kombu's Redis transport for a queue that may contain anything: what is no message of ours is discarded.

With Kombu's own transport, one message that is not JSON ends the worker, and one with unusual headers can stay in it
unacknowledged. Here Celery sees only messages that the worker has made itself from the experiment id of what it
received. That is enough because a message is a hint: the records in Redis know what is queued.
"""

import base64
import json
import logging
import re
from collections.abc import Callable
from queue import Empty
from typing import Any

from kombu import transport as transports
from kombu.transport import redis

from service.store.publisher import CeleryPublisher
from service.store.queue import EXPERIMENTS_QUEUE, TRAIN_TASK
from service.store.settings import RedisSettings

EXPERIMENT_ID = re.compile(r"[0-9a-f]{24}")
MAX_SHOWN_CHARACTERS = 200
CELERY_HANDLES: tuple[type[Exception], ...]
CELERY_HANDLES = (Empty, *redis.Transport.connection_errors, *redis.Transport.channel_errors)

logger = logging.getLogger(__name__)


def install() -> None:
    """Let every connection to Redis that Celery opens in this process use this transport."""
    for name in ("redis", "rediss"):  # `redis+socket` is looked up as `redis`
        transports.TRANSPORT_ALIASES[name] = f"{__name__}:Transport"


class Channel(redis.Channel):
    """Discards what cannot be parsed; a subclass can do so, for the message has left the queue when it is parsed."""

    def _brpop_read(self, **options: Any) -> Any:
        try:
            return super()._brpop_read(**options)  # type: ignore[misc]
        except Exception as error:
            if isinstance(error, CELERY_HANDLES) and not isinstance(error, KeyError):  # which Kombu counts among them
                raise
            logger.warning("discarded a message that cannot be read: %s", _shortened(repr(error)))
            return None


class Transport(redis.Transport):
    """Makes each message of the queue again from its experiment id, and discards messages without one."""

    Channel = Channel

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._message: Callable[[str], dict[str, Any]] = CeleryPublisher(RedisSettings()).message

    def _deliver(self, message: Any, queue: str | None) -> None:
        if queue != EXPERIMENTS_QUEUE:  # Celery's own, between workers that gossip
            super()._deliver(message, queue)
            return
        experiment_id = experiment_id_in(message)
        if experiment_id is None:
            logger.warning("discarded a message that is not for this worker: %s", _shortened(repr(message)))
            return
        super()._deliver(self._message(experiment_id), queue)


def experiment_id_in(message: Any) -> str | None:
    """The experiment id in a message of our task; None for any other value."""
    try:
        if message["headers"]["task"] != TRAIN_TASK or message["content-type"] != "application/json":
            return None
        (experiment_id,), _, _ = json.loads(base64.b64decode(message["body"], validate=True))
        return experiment_id if EXPERIMENT_ID.fullmatch(experiment_id) else None
    except (LookupError, TypeError, ValueError, RecursionError):
        return None


def _shortened(text: str) -> str:
    return text if len(text) <= MAX_SHOWN_CHARACTERS else f"{text[:MAX_SHOWN_CHARACTERS]}…"
