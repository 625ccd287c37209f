"""The Celery app: `celery -A worker.app worker`. Wires the worker and imports no TensorFlow.

Only the pool's children import TensorFlow, when they start and before the parent gives them a job.
"""

import contextlib
import logging
import os
import signal
import threading
from typing import TYPE_CHECKING

from billiard import active_children
from billiard.exceptions import WorkerLostError
from celery import Celery, signals

from service.contract.errors import StoreUnavailable
from service.store.attempts import Attempts
from service.store.connection import connect
from service.store.datasets import Datasets
from service.store.experiments import Experiments
from service.store.queue import EXPERIMENTS_QUEUE, TRAIN_TASK
from service.store.settings import CONNECTION_OPTIONS, LeaseSettings, RedisSettings
from service.store.sweeper import Sweeper
from worker import program_cache
from worker.processes import die_with, live_for_ever, process_name, queue_lost_runs
from worker.settings import WorkerSettings

if TYPE_CHECKING:
    from worker.tasks import Trainer

logger = logging.getLogger(__name__)
redis_settings, leases, worker_settings = RedisSettings(), LeaseSettings(), WorkerSettings()
STOP = signal.SIGUSR2  # to a child; Celery and billiard have uses of their own for the others

app = Celery("gradflow", broker=redis_settings.broker_url)
app.conf.update(
    accept_content=["json"],
    broker_channel_error_retry=True,  # a server that is full takes no message's receipt: the worker would end of it
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


class _Child:
    """What a child has once it is ready."""

    trainer: "Trainer | None" = None
    stopping = False


@app.task(name=TRAIN_TASK)
def train(experiment_id: str) -> None:
    """Train what is queued; the message says that something is, the records say what."""
    if _Child.trainer is not None:
        _Child.trainer.work(wake=lambda: _wake(experiment_id))


def _wake(experiment_id: str) -> None:
    app.send_task(TRAIN_TASK, args=[experiment_id], queue=EXPERIMENTS_QUEUE)


# ---------------------------------------------------------------- the parent


@signals.worker_init.connect
def _parent_started(**_: object) -> None:
    if worker_settings.stack_pid is not None:
        die_with(worker_settings.stack_pid)
    if worker_settings.program_cache is not None:
        program_cache.trim(worker_settings.program_cache)
    attempts = Attempts(connect(redis_settings), leases.lease_s)
    Sweeper(attempts, _wake, leases.sweep_s, leases.keep_s).start()


@signals.worker_shutting_down.connect
def _parent_stops(**_: object) -> None:
    """Celery would wait for the runs that go on, however long they take; told so, trainers leave them to others."""
    for child in active_children():
        if child.pid is not None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(child.pid, STOP)


@signals.task_failure.connect
def _run_lost(exception: BaseException, args: tuple[str, ...], **_: object) -> None:
    if isinstance(exception, WorkerLostError):  # else the child has recorded the failure itself
        client = connect(redis_settings)
        queue_lost_runs(Experiments(client), Attempts(client, leases.lease_s))
        _wake(args[0])  # what the lost process would have gone on with


# ---------------------------------------------------------------- its children


@signals.worker_process_init.connect
def _child_started(**_: object) -> None:
    signal.signal(STOP, _child_stops)
    die_with(os.getppid())
    try:
        _become_trainer()
    except Exception:
        # Celery would log this and give the process work all the same.
        logger.exception("this training process cannot start")
        os._exit(1)


def _become_trainer() -> None:
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    # Written in four parts instead of 32, a program is compiled in two thirds of the time.
    os.environ.setdefault("XLA_FLAGS", "--xla_cpu_parallel_codegen_split_count=4")
    if worker_settings.program_cache is not None:
        os.environ.setdefault("TF_XLA_FLAGS", program_cache.flags_for(worker_settings.program_cache))
    from worker import tasks  # imports TensorFlow: seven seconds or more
    from worker.training import device

    where = device.configure(worker_settings.trainer_threads)
    tasks.warm_up()
    os.nice(worker_settings.trainer_niceness)
    client = connect(redis_settings)
    store, attempts, name = Experiments(client), Attempts(client, leases.lease_s), process_name()
    every_s = worker_settings.checkpoint_s
    trainer = tasks.Trainer(name, store, attempts, Datasets(client), where, checkpoint_every_s=every_s)
    _Child.trainer = trainer
    if _Child.stopping:
        trainer.stop()
    threading.Thread(target=live_for_ever, args=(store, name, trainer.hold, leases.lease_s), daemon=True).start()
    threading.Thread(target=trainer.prepare_presets, daemon=True).start()


def _child_stops(*_: object) -> None:
    _Child.stopping = True
    if _Child.trainer is not None:
        _Child.trainer.stop()
    end = threading.Timer(worker_settings.stop_s, _end_child)
    end.daemon = True
    end.start()


def _end_child() -> None:
    """What it is at takes too long, compiling a very deep network for one: another goes on from the last checkpoint."""
    if _Child.trainer is not None:
        with contextlib.suppress(StoreUnavailable):
            _Child.trainer.abandon()
    os._exit(0)
