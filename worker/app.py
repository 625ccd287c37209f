"""The Celery app: `celery -A worker.app worker`. Wires the worker and imports no TensorFlow.

Only the pool's children import TensorFlow, when they start and before the parent gives them a job.
"""

import logging
import os
import threading

from billiard.exceptions import WorkerLostError
from celery import Celery, signals

from service.contract.connection import connect
from service.contract.datasets import Datasets
from service.contract.queue import EXPERIMENTS_QUEUE, TRAIN_TASK
from service.contract.settings import CONNECTION_OPTIONS, RedisSettings
from service.contract.store import Store
from worker.processes import announce_for_ever, die_with, fail_lost_run, process_name
from worker.settings import WorkerSettings

logger = logging.getLogger(__name__)
redis_settings, worker_settings = RedisSettings(), WorkerSettings()

app = Celery("gradflow", broker=redis_settings.broker_url)
app.conf.update(
    accept_content=["json"],
    broker_connection_max_retries=None,
    broker_connection_retry_on_startup=True,
    broker_transport_options=CONNECTION_OPTIONS,
    task_acks_late=False,
    task_default_queue=EXPERIMENTS_QUEUE,
    task_ignore_result=True,
    task_serializer="json",
    worker_concurrency=worker_settings.trainers,
    worker_disable_prefetch=True,
    worker_enable_remote_control=False,
    worker_pool="prefork",
    worker_pool_start_method="spawn",
    worker_prefetch_multiplier=1,
    worker_proc_alive_timeout=120,  # a child imports TensorFlow before it says that it lives
    worker_redirect_stdouts=False,
)


class _Trainer:
    """What a child has once it is ready."""

    device: str
    store: Store
    datasets: Datasets


@app.task(name=TRAIN_TASK)
def train(experiment_id: str) -> None:
    """Train one experiment; the message is a hint, the record decides."""
    from worker import tasks

    tasks.train(experiment_id, _Trainer.store, _Trainer.datasets, _Trainer.device)


@signals.worker_init.connect
def _parent_started(**_: object) -> None:
    if worker_settings.stack_pid is not None:
        die_with(worker_settings.stack_pid)


@signals.worker_process_init.connect
def _child_started(**_: object) -> None:
    die_with(os.getppid())
    try:
        _become_trainer()
    except Exception:
        # Celery would log this and give the process work all the same.
        logger.exception("this training process cannot start")
        os._exit(1)


def _become_trainer() -> None:
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    from worker import tasks  # TensorFlow, seven seconds or more
    from worker.training import device

    _Trainer.device = device.configure(worker_settings.trainer_threads)
    tasks.warm_up()
    client = connect(redis_settings)
    _Trainer.store, _Trainer.datasets = Store(client), Datasets(client)
    announcer = threading.Thread(target=announce_for_ever, args=(_Trainer.store, process_name()), daemon=True)
    announcer.start()


@signals.task_failure.connect
def _run_lost(exception: BaseException, args: tuple[str, ...], **_: object) -> None:
    if isinstance(exception, WorkerLostError):  # else the child has recorded the failure itself
        fail_lost_run(Store(connect(redis_settings)), args[0])
