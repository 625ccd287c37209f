"""An API server that knows of nothing, and to which a trainer has announced itself that takes no work."""

from collections.abc import Iterator

import httpx2
import pytest
import redis

from service.store.datasets import Datasets
from service.store.experiments import Experiments
from tests.support.served_api import RecordedMessages, served


@pytest.fixture
def api(client: redis.Redis, store: Experiments) -> Iterator[httpx2.Client]:
    """A client of it."""
    store.announce_trainer("absent", 24 * 3600)
    with served(store, Datasets(client), RecordedMessages()) as http:
        yield http
