"""A plain Celery task per run: the history is a Redis list, the end is a key; no lease and no checkpoint."""

import os
import time

import redis
from celery import Celery

from tests.chaos.plain.work import STEP_S, history

BROKER = os.environ["PLAIN_REDIS_URL"]

app = Celery("plain", broker=BROKER)
app.conf.update(
    broker_transport_options={"visibility_timeout": float(os.environ["PLAIN_VISIBILITY_S"])},
    task_acks_late=os.environ["PLAIN_ACKS"] == "late",
    task_default_queue="plain",
    task_ignore_result=True,
    task_reject_on_worker_lost=os.environ["PLAIN_ACKS"] == "late",
    worker_concurrency=1,
    worker_prefetch_multiplier=1,
)


@app.task(name="plain.train")
def train(run: str) -> None:
    """Compute the steps and record each one."""
    client = redis.Redis.from_url(BROKER)
    client.hincrby("attempts", run, 1)
    for row in history(run):
        time.sleep(STEP_S)
        client.rpush(f"history:{run}", row)
    client.set(f"ended:{run}", 1)
