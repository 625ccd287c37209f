"""The parent of the training processes: it receives messages, sweeps, and replaces children that die."""

import contextlib
import os
import signal

from billiard import active_children

from service.store.attempts import Attempts
from service.store.connection import connect
from service.store.experiments import Experiments
from service.store.publisher import CeleryPublisher
from service.store.sweeper import Sweeper
from worker import program_cache
from worker.processes import exit_with_parent, requeue_lost_runs
from worker.settings import Settings

STOP_SIGNAL = signal.SIGUSR2  # to a child; Celery and billiard use the others


def start(settings: Settings) -> None:
    """Begin to sweep; end with the stack that owns this worker, if there is one."""
    if settings.worker.stack_pid is not None:
        exit_with_parent(settings.worker.stack_pid)
    if settings.worker.program_cache is not None:
        program_cache.trim(settings.worker.program_cache)
    attempts = Attempts(connect(settings.redis), settings.leases.lease_s)
    publish = CeleryPublisher(settings.redis).publish
    Sweeper(attempts, publish, settings.leases.sweep_s, settings.leases.keep_s).start()


def stop_children() -> None:
    """Ask the trainers to leave their runs to others: Celery alone would wait for the end of each run."""
    for child in active_children():
        if child.pid is not None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(child.pid, STOP_SIGNAL)


def recover_from_lost_child(settings: Settings, experiment_id: str) -> None:
    """Queue the runs of dead children again and send a message in place of the one that was lost with them."""
    client = connect(settings.redis)
    requeue_lost_runs(Experiments(client), Attempts(client, settings.leases.lease_s))
    CeleryPublisher(settings.redis).publish(experiment_id)
