"""Sends an experiment id to the workers."""

import base64
import json
from collections.abc import Sequence
from typing import Any

from celery import Celery
from kombu.utils.uuid import uuid

from service.store.connection import connect, redis_errors_as_ours
from service.store.queue import EXPERIMENTS_QUEUE, TRAIN_TASK
from service.store.settings import CONNECTION_OPTIONS, RedisSettings


class CeleryPublisher:
    """Publishes by task name: nothing of the worker is imported.

    Celery makes the message, which is put where Kombu's Redis transport takes it from: the list with the queue's name.
    `Celery.send_task` comes to the same in four times the time: among other things Kombu makes a new Redis client for
    each message.
    """

    def __init__(self, settings: RedisSettings) -> None:
        self._redis = connect(settings)
        self._celery = Celery("gradflow-api", broker=settings.broker_url, set_as_current=False)
        self._celery.conf.update(
            task_default_queue=EXPERIMENTS_QUEUE,
            broker_transport_options=CONNECTION_OPTIONS,
        )

    def publish(self, experiment_id: str) -> None:
        """Tell the workers that an experiment is queued.

        Raises:
            StoreUnavailable: the message could not be sent.
        """
        message = json.dumps(self.message(experiment_id))
        with redis_errors_as_ours():
            self._redis.lpush(EXPERIMENTS_QUEUE, message)

    def publish_many(self, experiment_ids: Sequence[str]) -> None:
        """The same for several, in one go.

        Raises:
            StoreUnavailable: the messages could not be sent.
        """
        messages = [json.dumps(self.message(experiment_id)) for experiment_id in experiment_ids]
        if not messages:
            return
        with redis_errors_as_ours():
            self._redis.lpush(EXPERIMENTS_QUEUE, *messages)

    def purge(self) -> None:
        """Drop every message that waits: a message is a hint, the records know what is queued.

        Raises:
            StoreUnavailable: they are still there.
        """
        with redis_errors_as_ours():
            self._redis.delete(EXPERIMENTS_QUEUE)

    def message(self, experiment_id: str) -> dict[str, Any]:
        """The message for a queued experiment, as `kombu.transport.virtual.Channel` stores it."""
        headers, properties, body, _ = self._celery.amqp.as_task_v2(
            uuid(), TRAIN_TASK, (experiment_id,), argsrepr=repr((experiment_id,)), kwargsrepr="{}", ignore_result=True
        )
        properties |= {
            "body_encoding": "base64",
            "delivery_info": {"exchange": "", "routing_key": EXPERIMENTS_QUEUE},
            "delivery_mode": 2,
            "delivery_tag": uuid(),
            "priority": 0,
        }
        return {
            "body": base64.b64encode(json.dumps(body).encode()).decode(),
            "content-encoding": "utf-8",
            "content-type": "application/json",
            "headers": headers,
            "properties": properties,
        }
