"""Sends an experiment id to the workers."""

from celery import Celery
from kombu.exceptions import OperationalError

from service.contract.errors import StoreUnavailable
from service.contract.queue import EXPERIMENTS_QUEUE, TRAIN_TASK
from service.contract.settings import CONNECTION_OPTIONS, RedisSettings


class CeleryPublisher:
    """Publishes by task name: nothing of the worker is imported."""

    def __init__(self, settings: RedisSettings) -> None:
        self._celery = Celery("gradflow-api", broker=settings.broker_url, set_as_current=False)
        self._celery.conf.update(
            task_default_queue=EXPERIMENTS_QUEUE,
            task_serializer="json",
            task_ignore_result=True,
            broker_transport_options=CONNECTION_OPTIONS,
        )

    def publish(self, experiment_id: str) -> None:
        """Tell the workers that an experiment is queued.

        Raises:
            StoreUnavailable: the message could not be sent.
        """
        try:
            self._celery.send_task(
                TRAIN_TASK,
                args=[experiment_id],
                queue=EXPERIMENTS_QUEUE,
                retry_policy={"max_retries": 2, "interval_start": 0.1, "interval_step": 0.2},
            )
        except OperationalError as error:
            raise StoreUnavailable("the queue does not answer") from error

    def purge(self) -> None:
        """Drop every message that waits: a message is a hint, the records know what is queued."""
        with self._celery.connection_for_write() as connection:
            self._celery.amqp.queues[EXPERIMENTS_QUEUE].bind(connection.default_channel).purge()
