"""One API server per file for the tests of this folder that only send requests to it."""

from collections.abc import Iterator

import httpx2
import pytest
import redis

from service.store.connection import connect
from service.store.datasets import Datasets
from service.store.experiments import Experiments
from service.store.settings import RedisSettings
from tests.support.served_api import RecordedMessages, served


@pytest.fixture
def datasets(client: redis.Redis) -> Datasets:
    """The data sets of the empty server."""
    return Datasets(client)


@pytest.fixture(scope="module")
def shared(redis_settings: RedisSettings) -> Iterator[tuple[httpx2.Client, RecordedMessages]]:
    """One API server for the tests of a file, and its queue."""
    messages = RecordedMessages()
    with connect(redis_settings) as client, served(Experiments(client), Datasets(client), messages) as http:
        yield http, messages


@pytest.fixture
def queue(shared: tuple[httpx2.Client, RecordedMessages]) -> RecordedMessages:
    """The queue, empty and reachable."""
    _, messages = shared
    messages.ids.clear()
    messages.away = False
    return messages


@pytest.fixture
def api(
    shared: tuple[httpx2.Client, RecordedMessages],
    client: redis.Redis,  # noqa: ARG001 - empties the server
    queue: RecordedMessages,  # noqa: ARG001 - empties the queue
) -> httpx2.Client:
    """A client of the API, which has no experiments."""
    http, _ = shared
    return http
