"""The Celery worker as a child process of the stack."""

import contextlib
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping

from service.local.data_directory import DataDirectory
from service.local.settings import LocalSettings
from service.local.supervisor import Backoff, Supervisor
from service.store.settings import RedisSettings

GRACE_S = 1.0  # beyond what the worker gives its trainers

COMMAND = [sys.executable, "-m", "celery", "--app", "worker.app", "--quiet", "worker", "--loglevel", "INFO"]
COMMAND += ["--without-mingle", "--without-gossip"]  # workers do not need to know each other


@contextlib.contextmanager
def running_worker(
    environment: Mapping[str, str], directory: DataDirectory, stop_s: float, requeue: Callable[[], None]
) -> Iterator[None]:
    """Run the worker, which ends within `stop_s` and a second; `requeue` is called before each start."""

    def start() -> "subprocess.Popen[bytes]":
        requeue()
        with directory.worker_log.open("ab") as log:
            return subprocess.Popen(
                COMMAND,
                env=environment,
                stdout=log,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
                start_new_session=True,
            )

    worker = Supervisor("worker", start, Backoff(1.0))
    worker.run()
    try:
        yield
    finally:
        worker.stop(stop_s + GRACE_S)


def worker_environment(
    environment: Mapping[str, str],
    redis: RedisSettings,
    local: LocalSettings,
    trainers: int | None,
    directory: DataDirectory,
) -> dict[str, str]:
    """The environment of the worker: that of the stack, with the stack's server instead of any other."""
    inherited = {name: value for name, value in environment.items() if name != "GRADFLOW_REDIS_PASSWORD"}
    return inherited | {
        "GRADFLOW_REDIS_URL": redis.url,
        "GRADFLOW_STACK_PID": str(os.getpid()),
        "GRADFLOW_STOP_S": str(local.stop_s),
        "GRADFLOW_PROGRAM_CACHE": str(local.program_cache or directory.programs),
        **({"GRADFLOW_TRAINERS": str(trainers)} if trainers else {}),
    }
