"""The Celery app: `celery -A worker.app worker`. Wires the worker and imports no TensorFlow.

Only the pool's children import TensorFlow, when they start and before the parent gives them work. The environment is
read when Celery asks for its configuration, not when this module is imported.
"""

import os
import signal
from functools import partial
from typing import Any

from billiard.exceptions import WorkerLostError
from celery import Celery, signals

from service.store.publisher import CeleryPublisher
from service.store.queue import EXPERIMENTS_QUEUE, TRAIN_TASK
from service.store.settings import CONNECTION_OPTIONS
from worker import parent_process, transport
from worker.processes import exit_with_parent
from worker.settings import Settings
from worker.trainer_process import TrainerProcess, make_trainer


def configuration() -> dict[str, Any]:
    """Celery's configuration, from the environment."""
    settings = Settings.read()
    return {
        "accept_content": ["json"],
        "broker_channel_error_retry": True,  # a full server refuses acknowledgements, which would end the worker
        "broker_connection_max_retries": None,
        "broker_connection_retry_on_startup": True,
        "broker_transport_options": CONNECTION_OPTIONS,
        "broker_url": settings.redis.broker_url,
        "task_acks_late": False,
        "task_default_queue": EXPERIMENTS_QUEUE,
        "task_ignore_result": True,
        "task_serializer": "json",
        "worker_concurrency": settings.worker.trainers,
        "worker_disable_prefetch": True,
        "worker_enable_remote_control": False,
        "worker_pool": "prefork",
        "worker_pool_start_method": "spawn",
        "worker_prefetch_multiplier": 1,
        "worker_proc_alive_timeout": 120,  # a child imports TensorFlow before it reports that it is up
        "worker_redirect_stdouts": False,
    }


transport.install()
app = Celery("gradflow")
app.add_defaults(configuration)
trainer_process = TrainerProcess()


@app.task(name=TRAIN_TASK)
def train(experiment_id: str) -> None:
    """Train queued runs; the message only says that there are some, and the records say which."""
    trainer_process.notify(experiment_id)


@signals.worker_init.connect
def _start_parent(**_: object) -> None:
    parent_process.start(Settings.read())


@signals.worker_shutting_down.connect
def _stop_children(**_: object) -> None:
    parent_process.stop_children()


@signals.task_failure.connect
def _recover(exception: BaseException, args: tuple[str, ...], **_: object) -> None:
    if isinstance(exception, WorkerLostError):  # a child that lives has recorded the failure itself
        parent_process.recover_from_lost_child(Settings.read(), args[0])


@signals.worker_process_init.connect
def _start_trainer(**_: object) -> None:
    settings = Settings.read()
    signal.signal(parent_process.STOP_SIGNAL, lambda *_: trainer_process.stop(settings.worker.stop_s))
    exit_with_parent(os.getppid())
    trainer_process.start(partial(make_trainer, settings), CeleryPublisher(settings.redis).publish)
