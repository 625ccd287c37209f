"""The publisher's messages equal those that Celery sends."""

import base64
import json
from typing import Any, cast

import pytest
import redis
from celery import Celery
from kombu import Connection

from service.contract.errors import StoreUnavailable
from service.store.publisher import CeleryPublisher
from service.store.queue import EXPERIMENTS_QUEUE, TRAIN_TASK
from service.store.settings import RedisSettings

# Ids, which differ in each message, and the queue for results, which are never sent.
OWN = {"id", "root_id", "correlation_id", "delivery_tag", "reply_to"}


def _sent(client: redis.Redis) -> list[dict[str, Any]]:
    """Return the waiting messages in the order in which they were sent, without the fields of OWN."""
    found = [json.loads(raw) for raw in reversed(cast("list[bytes]", client.lrange(EXPERIMENTS_QUEUE, 0, -1)))]
    for message in found:
        for part in ("headers", "properties"):
            assert all(message[part][name] for name in OWN & set(message[part]) - {"reply_to"})
            message[part] = {name: value for name, value in message[part].items() if name not in OWN}
        message["body"] = json.loads(base64.b64decode(message["body"]))
    return found


def test_a_message_is_what_celery_would_have_sent(redis_settings: RedisSettings, client: redis.Redis) -> None:
    celery = Celery("other", broker=redis_settings.broker_url, set_as_current=False)
    celery.send_task(TRAIN_TASK, args=("some id",), queue=EXPERIMENTS_QUEUE, ignore_result=True)

    CeleryPublisher(redis_settings).publish("some id")

    celerys, ours = _sent(client)
    assert ours == celerys
    assert ours["body"][0] == ["some id"]


def test_messages_are_taken_in_the_order_in_which_they_were_sent_and_each_once(
    redis_settings: RedisSettings, client: redis.Redis
) -> None:
    publisher = CeleryPublisher(redis_settings)
    for number in range(3):
        publisher.publish(f"id {number}")

    with Connection(redis_settings.broker_url) as connection, connection.SimpleQueue(EXPERIMENTS_QUEUE) as queue:
        taken = [queue.get(timeout=1) for _ in range(3)]
        for message in taken:
            message.ack()

    assert [message.payload[0] for message in taken] == [[f"id {number}"] for number in range(3)]
    assert len({message.headers["id"] for message in taken}) == 3
    assert client.llen(EXPERIMENTS_QUEUE) == 0


def test_messages_sent_together_equal_those_sent_singly(redis_settings: RedisSettings, client: redis.Redis) -> None:
    publisher = CeleryPublisher(redis_settings)
    publisher.publish("first")
    publisher.publish("second")
    publisher.publish_many(["first", "second"])
    publisher.publish_many([])

    sent = _sent(client)
    assert sent[:2] == sent[2:]


def test_five_messages_sent_together_equal_those_sent_singly(
    redis_settings: RedisSettings, client: redis.Redis
) -> None:
    publisher = CeleryPublisher(redis_settings)
    ids = [f"id {number}" for number in range(5)]
    for experiment_id in ids:
        publisher.publish(experiment_id)
    one_by_one = _sent(client)
    client.delete(EXPERIMENTS_QUEUE)

    publisher.publish_many(ids)

    assert _sent(client) == one_by_one


def test_a_purge_leaves_no_message(redis_settings: RedisSettings, client: redis.Redis) -> None:
    publisher = CeleryPublisher(redis_settings)
    publisher.publish("some id")

    publisher.purge()

    assert client.llen(EXPERIMENTS_QUEUE) == 0


def test_a_queue_that_does_not_answer_or_is_full_raises_store_unavailable(
    redis_settings: RedisSettings, client: redis.Redis
) -> None:
    with pytest.raises(StoreUnavailable, match="does not answer"):
        CeleryPublisher(RedisSettings(url="unix:///no/such/socket")).publish("some id")
    client.config_set("maxmemory", "1mb")  # less than an empty server uses
    try:
        with pytest.raises(StoreUnavailable, match="out of memory"):
            CeleryPublisher(redis_settings).publish("some id")
    finally:
        client.config_set("maxmemory", "0")
    assert client.llen(EXPERIMENTS_QUEUE) == 0
