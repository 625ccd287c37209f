"""An API server without data and with one trainer, which takes no work."""

from collections.abc import Iterator

import httpx2
import pytest
import redis

from service.store.datasets import Datasets
from service.store.experiments import Experiments
from tests.support.served_api import RecordedMessages, served


@pytest.fixture
def api(client: redis.Redis, store: Experiments) -> Iterator[httpx2.Client]:
    """A client of this server."""
    store.announce_trainer("absent", 24 * 3600)
    with served(store, Datasets(client), RecordedMessages()) as http:
        yield http
